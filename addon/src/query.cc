// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include "libbpf-log.h"
#include "netns.h"
#include "program.h"

namespace shunt {
namespace {

/** A verifier log beyond this is cut: the kernel's own limit was 16 MiB for years. */
constexpr size_t kMaxLogSize = 16 << 20;

Napi::Value LoadProgram(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  args.Options(0, "options");
  auto type = static_cast<bpf_prog_type>(args.FieldUnsigned("type"));
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = static_cast<bpf_attach_type>(args.FieldUnsigned("expectedAttachType"));
  std::string name = args.FieldText("name");
  Bytes bytes = args.FieldBytes("instructions");
  std::string license = args.FieldText("license");
  if (args.ok() && bytes.size() % sizeof(bpf_insn) != 0) args.Fail("instructions", "a multiple of 8 bytes long");
  if (!args.ok()) return {};

  std::vector<bpf_insn> instructions(bytes.size() / sizeof(bpf_insn));
  std::memcpy(instructions.data(), bytes.data(), bytes.size());
  std::vector<char> log(1);
  LibbpfLog silence;
  auto load = [&] {
    return bpf_prog_load(type, name.c_str(), license.c_str(), instructions.data(), instructions.size(), &options);
  };
  int fd = load();
  for (size_t size = 64 << 10; fd < 0 && size <= kMaxLogSize; size *= 4) {
    log.assign(size, '\0');
    options.log_level = 1;
    options.log_buf = log.data();
    options.log_size = log.size();
    fd = load();
    if (fd != -ENOSPC) break;
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("program", fd < 0 ? env.Undefined() : Program::FromFd(env, fd));
  result.Set("status", fd < 0 ? fd : 0);
  result.Set("log", log.data());
  return result;
}

Napi::Value QueryPrograms(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  int target = args.Fd(0, "targetFd");
  auto type = static_cast<bpf_attach_type>(args.Unsigned(1, "attachType"));
  uint32_t flags = args.Unsigned(2, "flags", 0);
  std::optional<int> netns = args.OptionalFd(3, "netnsFd");
  if (!args.ok()) return {};
  uint32_t attach_flags = 0;
  std::vector<uint32_t> ids(64);
  for (;;) {
    uint32_t count = ids.size();
    int status = InNetns(netns, [&] { return bpf_prog_query(target, type, flags, &attach_flags, ids.data(), &count); });
    // −ENOSPC comes with the count that is wanted.
    if (status == -ENOSPC) {
      ids.resize(std::max<size_t>(count, ids.size() * 2));
      continue;
    }
    if (status < 0) return Status(env, status);
    ids.resize(count);
    break;
  }
  Napi::Array list = Napi::Array::New(env, ids.size());
  for (uint32_t i = 0; i < ids.size(); i++) list.Set(i, ids[i]);
  Napi::Object result = Napi::Object::New(env);
  result.Set("ids", list);
  result.Set("attachFlags", attach_flags);
  return result;
}

}  // namespace

void DefineQueryFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("loadProgram", Napi::Function::New<LoadProgram>(env, "loadProgram"));
  exports.Set("queryPrograms", Napi::Function::New<QueryPrograms>(env, "queryPrograms"));
}

}  // namespace shunt
