// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <bpf/bpf.h>

#include "bpf-fd.h"
#include "link.h"
#include "netns.h"

namespace shunt {
namespace {

Napi::Value OpenPinnedProgram(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Program::FromFd(info.Env(), bpf_obj_get(path.c_str()));
}

Napi::Value ProgramFromFd(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  return Program::FromFd(info.Env(), Duplicate(fd));
}

Napi::Value ProgramById(const Napi::CallbackInfo& info) {
  Args args(info);
  uint32_t id = args.Unsigned(0, "id");
  if (!args.ok()) return {};
  return Program::FromFd(info.Env(), bpf_prog_get_fd_by_id(id));
}

}  // namespace

Napi::Value Program::FromFd(Napi::Env env, int fd) {
  if (fd < 0) return Status(env, fd);
  OwnedFd owned(fd);
  int status = CheckKind(fd, kProgramInode);
  if (status < 0) return Status(env, status);
  return Handle<Program>::Wrap(env, std::unique_ptr<Program>(new Program(std::move(owned))));
}

std::vector<napi_property_descriptor> Program::Properties() {
  using H = Handle<Program>;
  return {H::Getter<&Program::GetFd>("fd"),        H::Method<&Program::Info>("info"),
          H::Method<&Program::CreateLink>("link"), H::Method<&Program::Attach>("attach"),
          H::Method<&Program::Detach>("detach"),   H::Method<&Program::TestRun>("testRun"),
          H::Method<&Program::Pin>("pin")};
}

Napi::Value Program::GetFd(const Napi::CallbackInfo& info) { return Status(info.Env(), fd()); }

Napi::Value Program::Info(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  bpf_prog_info program;
  int status = GetInfo(fd(), &program);
  if (status < 0) return Status(env, status);
  char tag[2 * sizeof(program.tag) + 1];
  for (size_t i = 0; i < sizeof(program.tag); i++) std::snprintf(tag + 2 * i, 3, "%02x", program.tag[i]);
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", program.id);
  result.Set("type", program.type);
  result.Set("name", program.name);
  result.Set("tag", tag);
  result.Set("loadTimeNs", Napi::BigInt::New(env, static_cast<uint64_t>(program.load_time)));
  return result;
}

Napi::Value Program::CreateLink(const Napi::CallbackInfo& info) {
  Args args(info);
  int target = args.Fd(0, "targetFd");
  auto type = static_cast<bpf_attach_type>(args.Unsigned(1, "attachType"));
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.flags = args.Unsigned(2, "flags", 0);
  if (!args.ok()) return {};
  return Link::FromFd(info.Env(), bpf_link_create(fd(), target, type, &options));
}

Napi::Value Program::Attach(const Napi::CallbackInfo& info) {
  Args args(info);
  int target = args.Fd(0, "targetFd");
  auto type = static_cast<bpf_attach_type>(args.Unsigned(1, "attachType"));
  uint32_t flags = args.Unsigned(2, "flags", 0);
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_prog_attach(fd(), target, type, flags));
}

Napi::Value Program::Detach(const Napi::CallbackInfo& info) {
  Args args(info);
  int target = args.Fd(0, "targetFd");
  auto type = static_cast<bpf_attach_type>(args.Unsigned(1, "attachType"));
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_prog_detach2(fd(), target, type));
}

Napi::Value Program::TestRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  args.Options(0, "options");
  std::optional<Bytes> data = args.FieldOptionalBytes("data");
  std::optional<Bytes> context = args.FieldOptionalBytes("context");
  uint32_t repeat = args.FieldUnsigned("repeat", 1);
  uint32_t data_size = args.FieldUnsigned("dataOutSize", data ? data->size() : 0);
  uint32_t context_size = args.FieldUnsigned("contextOutSize", context ? context->size() : 0);
  std::optional<int> netns = args.FieldOptionalFd("netns");
  if (!args.ok()) return {};

  std::vector<uint8_t> data_out(data_size);
  std::vector<uint8_t> context_out(context_size);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  if (data) {
    options.data_in = data->data();
    options.data_size_in = data->size();
  }
  if (context) {
    options.ctx_in = context->data();
    options.ctx_size_in = context->size();
  }
  options.data_out = data_size > 0 ? data_out.data() : nullptr;
  options.data_size_out = data_size;
  options.ctx_out = context_size > 0 ? context_out.data() : nullptr;
  options.ctx_size_out = context_size;
  options.repeat = repeat;
  int status = InNetns(netns, [&] { return bpf_prog_test_run_opts(fd(), &options); });
  if (status < 0) return Status(env, status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("returnValue", options.retval);
  result.Set("durationNs", options.duration);
  result.Set("data", CopyBytes(env, data_out.data(), std::min(options.data_size_out, data_size)));
  result.Set("context", CopyBytes(env, context_out.data(), std::min(options.ctx_size_out, context_size)));
  return result;
}

Napi::Value Program::Pin(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return {};
  return Status(info.Env(), bpf_obj_pin(fd(), path.c_str()));
}

void DefineProgramFunctions(Napi::Env env, Napi::Object exports) {
  Handle<Program>::Define(env);
  exports.Set("openPinnedProgram", Napi::Function::New<OpenPinnedProgram>(env, "openPinnedProgram"));
  exports.Set("programFromFd", Napi::Function::New<ProgramFromFd>(env, "programFromFd"));
  exports.Set("programById", Napi::Function::New<ProgramById>(env, "programById"));
}

}  // namespace shunt
