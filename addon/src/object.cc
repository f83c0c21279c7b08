// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "bpf-fd.h"
#include "btf.h"
#include "libbpf-log.h"
#include "map.h"
#include "program.h"

namespace shunt {

Napi::Value Object::Open(const Napi::CallbackInfo& info) {
  Args args(info);
  Bytes bytes = args.Data(0, "bytes");
  std::string name = args.Text(1, "name");
  if (!args.ok()) return {};
  // libelf wants alignment and may write; the caller's buffer promises neither. Not needed after opening.
  std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  LIBBPF_OPTS(bpf_object_open_opts, options);
  options.object_name = name.c_str();
  LibbpfLog log;
  bpf_object* object = bpf_object__open_mem(copy.data(), copy.size(), &options);
  if (object == nullptr) return Status(info.Env(), -errno);
  return Handle<Object>::Wrap(info.Env(), std::unique_ptr<Object>(new Object(object)));
}

void Object::Close() {
  if (object_ != nullptr) bpf_object__close(std::exchange(object_, nullptr));
}

std::vector<napi_property_descriptor> Object::Properties() {
  using H = Handle<Object>;
  return {H::Method<&Object::Maps>("maps"),
          H::Method<&Object::Programs>("programs"),
          H::Method<&Object::Btf>("btf"),
          H::Method<&Object::SetAutoload>("setAutoload"),
          H::Method<&Object::SetAutocreate>("setAutocreate"),
          H::Method<&Object::SetMaxEntries>("setMaxEntries"),
          H::Method<&Object::ReuseMap>("reuseMap"),
          H::Method<&Object::Load>("load"),
          H::Method<&Object::GetMap>("map"),
          H::Method<&Object::GetProgram>("program")};
}

Napi::Value Object::Maps(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array maps = Napi::Array::New(env);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    Napi::Object description = Napi::Object::New(env);
    description.Set("name", bpf_map__name(map));
    description.Set("type", static_cast<uint32_t>(bpf_map__type(map)));
    description.Set("keySize", bpf_map__key_size(map));
    description.Set("valueSize", bpf_map__value_size(map));
    description.Set("maxEntries", bpf_map__max_entries(map));
    description.Set("flags", bpf_map__map_flags(map));
    description.Set("keyTypeId", bpf_map__btf_key_type_id(map));
    description.Set("valueTypeId", bpf_map__btf_value_type_id(map));
    maps.Set(maps.Length(), description);
  }
  return maps;
}

Napi::Value Object::Programs(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array programs = Napi::Array::New(env);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    Napi::Object description = Napi::Object::New(env);
    description.Set("name", bpf_program__name(program));
    description.Set("section", bpf_program__section_name(program));
    description.Set("type", static_cast<uint32_t>(bpf_program__type(program)));
    description.Set("expectedAttachType", static_cast<uint32_t>(bpf_program__expected_attach_type(program)));
    description.Set("instructions", static_cast<double>(bpf_program__insn_cnt(program)));
    description.Set("autoload", Napi::Boolean::New(env, bpf_program__autoload(program)));
    programs.Set(programs.Length(), description);
  }
  return programs;
}

Napi::Value Object::Btf(const Napi::CallbackInfo& info) { return DescribeBtf(info.Env(), bpf_object__btf(object_)); }

Napi::Value Object::SetAutoload(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "program");
  bool autoload = args.Boolean(1, "autoload");
  if (!args.ok()) return {};
  bpf_program* program = bpf_object__find_program_by_name(object_, name.c_str());
  return Status(info.Env(), program == nullptr ? -ENOENT : bpf_program__set_autoload(program, autoload));
}

Napi::Value Object::SetAutocreate(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "map");
  bool autocreate = args.Boolean(1, "autocreate");
  if (!args.ok()) return {};
  bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
  return Status(info.Env(), map == nullptr ? -ENOENT : bpf_map__set_autocreate(map, autocreate));
}

Napi::Value Object::SetMaxEntries(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "map");
  uint32_t entries = args.Unsigned(1, "entries");
  if (!args.ok()) return {};
  bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
  return Status(info.Env(), map == nullptr ? -ENOENT : bpf_map__set_max_entries(map, entries));
}

Napi::Value Object::ReuseMap(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "name");
  Map* source = args.Native<Map>(1, "map");
  if (!args.ok()) return {};
  bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
  LibbpfLog log;
  return Status(info.Env(), map == nullptr ? -ENOENT : bpf_map__reuse_fd(map, source->fd()));
}

Napi::Value Object::Load(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  uint32_t level = args.Unsigned(0, "logLevel", 0);
  if (!args.ok()) return {};
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) bpf_program__set_log_level(program, level);
  LibbpfLog log;
  int status = bpf_object__load(object_);
  Napi::Object result = Napi::Object::New(env);
  result.Set("status", status);
  result.Set("log", status < 0 ? log.Text() : log.VerifierText());
  return result;
}

Napi::Value Object::GetMap(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "name");
  if (!args.ok()) return {};
  bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
  if (map == nullptr) return Status(info.Env(), -ENOENT);
  int fd = bpf_map__fd(map);
  // After load() libbpf 1.4 and newer give for a map that was not created the placeholder that they opened for it.
  bool created = fd >= 0 && CheckKind(fd, kMapInode) == 0;
  return Map::FromFd(info.Env(), created ? Duplicate(fd) : -EBADF);
}

Napi::Value Object::GetProgram(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string name = args.Text(0, "name");
  if (!args.ok()) return {};
  bpf_program* program = bpf_object__find_program_by_name(object_, name.c_str());
  if (program == nullptr) return Status(info.Env(), -ENOENT);
  int fd = bpf_program__fd(program);
  return Program::FromFd(info.Env(), fd < 0 ? -EBADF : Duplicate(fd));
}

void DefineObjectFunctions(Napi::Env env, Napi::Object exports) {
  Handle<Object>::Define(env);
  exports.Set("openObject", Napi::Function::New<Object::Open>(env, "openObject"));
}

}  // namespace shunt
