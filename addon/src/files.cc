// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include <cerrno>

#include "args.h"
#include "bpf-fd.h"
#include "netns.h"
#include "owned-fd.h"

// Numbers of <asm-generic/unistd.h>, the same on every architecture; Debian 11's headers lack the second.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace shunt {
namespace {

Napi::Value DuplicateFd(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  return Status(info.Env(), Duplicate(fd));
}

/** The copy is close-on-exec by nature of pidfd_getfd(2). */
Napi::Value DuplicateFrom(const Napi::CallbackInfo& info) {
  Args args(info);
  int pid = args.Signed(0, "pid");
  int fd = args.Fd(1, "fd");
  if (!args.ok()) return {};
  OwnedFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return Status(info.Env(), -errno);
  long copy = syscall(SYS_pidfd_getfd, process.get(), fd, 0);
  return Status(info.Env(), copy < 0 ? -errno : copy);
}

Napi::Value OpenInNetns(const Napi::CallbackInfo& info) {
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  std::string path = args.Text(1, "path");
  if (!args.ok()) return {};
  return Status(info.Env(), InNetns(netns, [&path] {
                  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
                  return fd < 0 ? -errno : fd;
                }));
}

Napi::Value CloseFd(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  return Status(info.Env(), close(fd) < 0 ? -errno : 0);
}

Napi::Value LockFile(const Napi::CallbackInfo& info) {
  Args args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return {};
  return Status(info.Env(), flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0);
}

Napi::Value Mount(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string source = args.Text(0, "source");
  std::string target = args.Text(1, "target");
  std::string type = args.Text(2, "type");
  uint32_t flags = args.Unsigned(3, "flags");
  std::string data = args.Text(4, "data");
  if (!args.ok()) return {};
  int status = mount(source.c_str(), target.c_str(), type.c_str(), flags, data.c_str());
  return Status(info.Env(), status < 0 ? -errno : 0);
}

Napi::Value Unmount(const Napi::CallbackInfo& info) {
  Args args(info);
  std::string target = args.Text(0, "target");
  int flags = args.Signed(1, "flags");
  if (!args.ok()) return {};
  return Status(info.Env(), umount2(target.c_str(), flags) < 0 ? -errno : 0);
}

}  // namespace

void DefineFileFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("duplicate", Napi::Function::New<DuplicateFd>(env, "duplicate"));
  exports.Set("duplicateFrom", Napi::Function::New<DuplicateFrom>(env, "duplicateFrom"));
  exports.Set("openInNetns", Napi::Function::New<OpenInNetns>(env, "openInNetns"));
  exports.Set("closeFd", Napi::Function::New<CloseFd>(env, "closeFd"));
  exports.Set("lockFile", Napi::Function::New<LockFile>(env, "lockFile"));
  exports.Set("mount", Napi::Function::New<Mount>(env, "mount"));
  exports.Set("unmount", Napi::Function::New<Unmount>(env, "unmount"));
}

}  // namespace shunt
