// SPDX-License-Identifier: Apache-2.0
#include "map.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf-fd.h"

namespace shunt {
namespace {

bool IsPerCpu(uint32_t type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

Napi::Value CreateMap(const Napi::CallbackInfo& info) {
  Args args(info);
  args.Options(0, "options");
  auto type = static_cast<bpf_map_type>(args.FieldUnsigned("type"));
  std::string name = args.FieldText("name");
  uint32_t key_size = args.FieldUnsigned("keySize");
  uint32_t value_size = args.FieldUnsigned("valueSize");
  uint32_t max_entries = args.FieldUnsigned("maxEntries");
  LIBBPF_OPTS(bpf_map_create_opts, options);
  options.map_flags = args.FieldUnsigned("flags");
  if (!args.ok()) return {};
  return Map::FromFd(info.Env(), bpf_map_create(type, name.c_str(), key_size, value_size, max_entries, &options));
}

Napi::Value OpenPinnedMap(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Map::FromFd(info.Env(), bpf_obj_get(path.c_str()));
}

Napi::Value MapById(const Napi::CallbackInfo& info) {
  Args args(info);
  uint32_t id = args.Unsigned(0, "id");
  if (!args.ok()) return {};
  return Map::FromFd(info.Env(), bpf_map_get_fd_by_id(id));
}

Napi::Value MapFromFd(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  return Map::FromFd(info.Env(), Duplicate(fd));
}

}  // namespace

int PossibleCpus() { return libbpf_num_possible_cpus(); }

Map::Map(OwnedFd fd, const bpf_map_info& info)
    : fd_(std::move(fd)), key_size_(info.key_size), value_size_(info.value_size) {
  if (IsPerCpu(info.type)) value_size_ = (value_size_ + 7) / 8 * 8 * PossibleCpus();
}

Napi::Value Map::FromFd(Napi::Env env, int fd) {
  if (fd < 0) return Status(env, fd);
  OwnedFd owned(fd);
  bpf_map_info info;
  int status = CheckKind(fd, kMapInode);
  if (status == 0) status = GetInfo(fd, &info);
  if (status < 0) return Status(env, status);
  return Handle<Map>::Wrap(env, std::unique_ptr<Map>(new Map(std::move(owned), info)));
}

std::vector<napi_property_descriptor> Map::Properties() {
  using H = Handle<Map>;
  return {H::Getter<&Map::GetFd>("fd"),
          H::Method<&Map::Info>("info"),
          H::Method<&Map::Lookup>("lookup"),
          H::Method<&Map::Update>("update"),
          H::Method<&Map::Delete>("delete"),
          H::Method<&Map::LookupAndDelete>("lookupAndDelete"),
          H::Method<&Map::NextKey>("nextKey"),
          H::Method<&Map::LookupBatch>("lookupBatch"),
          H::Method<&Map::UpdateBatch>("updateBatch"),
          H::Method<&Map::DeleteBatch>("deleteBatch"),
          H::Method<&Map::Pin>("pin")};
}

Napi::Value Map::GetFd(const Napi::CallbackInfo& info) { return Status(info.Env(), fd()); }

Napi::Value Map::Info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_map_info map;
  int status = GetInfo(fd(), &map);
  if (status < 0) return Status(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", map.id);
  result.Set("name", map.name);
  result.Set("type", map.type);
  result.Set("keySize", map.key_size);
  result.Set("valueSize", map.value_size);
  result.Set("maxEntries", map.max_entries);
  result.Set("flags", map.map_flags);
  result.Set("btfId", map.btf_id);
  result.Set("keyTypeId", map.btf_key_type_id);
  result.Set("valueTypeId", map.btf_value_type_id);
  return result;
}

Napi::Value Map::Lookup(const Napi::CallbackInfo& info) {
  Args args(info);
  Bytes key = args.Data(0, "key", key_size_);
  uint32_t flags = args.Unsigned(1, "flags", 0);
  if (!args.ok()) return {};
  scratch_.resize(value_size_);
  int status = bpf_map_lookup_elem_flags(fd(), KeyPointer(key), scratch_.data(), flags);
  return status < 0 ? Status(info.Env(), status) : CopyBytes(info.Env(), scratch_.data(), value_size_);
}

Napi::Value Map::Update(const Napi::CallbackInfo& info) {
  Args args(info);
  Bytes key = args.Data(0, "key", key_size_);
  Bytes value = args.Data(1, "value", value_size_);
  uint32_t flags = args.Unsigned(2, "flags", 0);
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_map_update_elem(fd(), KeyPointer(key), value.data(), flags));
}

Napi::Value Map::Delete(const Napi::CallbackInfo& info) {
  Args args(info);
  Bytes key = args.Data(0, "key", key_size_);
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_map_delete_elem(fd(), KeyPointer(key)));
}

Napi::Value Map::LookupAndDelete(const Napi::CallbackInfo& info) {
  Args args(info);
  Bytes key = args.Data(0, "key", key_size_);
  if (!args.ok()) return {};
  scratch_.resize(value_size_);
  int status = bpf_map_lookup_and_delete_elem(fd(), KeyPointer(key), scratch_.data());
  return status < 0 ? Status(info.Env(), status) : CopyBytes(info.Env(), scratch_.data(), value_size_);
}

Napi::Value Map::NextKey(const Napi::CallbackInfo& info) {
  Args args(info);
  bool first = info[0].IsNull() || info[0].IsUndefined();
  Bytes key = first ? Bytes() : args.Data(0, "key", key_size_);
  if (!args.ok()) return {};
  scratch_.resize(key_size_);
  int status = bpf_map_get_next_key(fd(), first ? nullptr : key.data(), scratch_.data());
  return status < 0 ? Status(info.Env(), status) : CopyBytes(info.Env(), scratch_.data(), key_size_);
}

Napi::Value Map::Pin(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_obj_pin(fd(), path.c_str()));
}

void DefineMapFunctions(Napi::Env env, Napi::Object exports) {
  Handle<Map>::Define(env);
  exports.Set("possibleCpus", PossibleCpus());
  exports.Set("createMap", Napi::Function::New<CreateMap>(env, "createMap"));
  exports.Set("openPinnedMap", Napi::Function::New<OpenPinnedMap>(env, "openPinnedMap"));
  exports.Set("mapById", Napi::Function::New<MapById>(env, "mapById"));
  exports.Set("mapFromFd", Napi::Function::New<MapFromFd>(env, "mapFromFd"));
}

}  // namespace shunt
