// SPDX-License-Identifier: Apache-2.0
#include "netns.h"

#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "args.h"
#include "owned-fd.h"

namespace shunt {
namespace {

constexpr const char* kOwnNetns = "/proc/thread-self/ns/net";

bool SameFile(int a, int b) {
  struct stat x, y;
  return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int BringLoopbackUp() {
  OwnedFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.valid()) return -errno;
  struct ifreq request = {};
  std::strncpy(request.ifr_name, "lo", IFNAMSIZ - 1);
  if (ioctl(control.get(), SIOCGIFFLAGS, &request) < 0) return -errno;
  request.ifr_flags |= IFF_UP;
  return ioctl(control.get(), SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

struct NewNetns {
  bool lo_up;
  int result;
};

/** Runs on a thread of its own: what unshare() changes ends with it. */
void* MakeNetns(void* argument) {
  auto* request = static_cast<NewNetns*>(argument);
  if (unshare(CLONE_NEWNET) < 0) {
    request->result = -errno;
    return nullptr;
  }
  OwnedFd fd(open(kOwnNetns, O_RDONLY | O_CLOEXEC));
  request->result = fd.valid() ? 0 : -errno;
  if (request->result == 0 && request->lo_up) request->result = BringLoopbackUp();
  if (request->result == 0) request->result = fd.Release();
  return nullptr;
}

Napi::Value CreateNetns(const Napi::CallbackInfo& info) {
  Args args(info);
  NewNetns request{args.Boolean(0, "loUp"), 0};
  if (!args.ok()) return {};
  pthread_t thread;
  int error = pthread_create(&thread, nullptr, MakeNetns, &request);
  if (error != 0) return Status(info.Env(), -error);
  pthread_join(thread, nullptr);
  return Status(info.Env(), request.result);
}

}  // namespace

int InNetns(std::optional<int> netns, const std::function<int()>& work) {
  if (!netns) return work();
  OwnedFd own(open(kOwnNetns, O_RDONLY | O_CLOEXEC));
  if (!own.valid()) return -errno;
  // Entering needs CAP_SYS_ADMIN even when one is inside already.
  if (SameFile(own.get(), *netns)) return work();
  if (setns(*netns, CLONE_NEWNET) < 0) return -errno;
  int status = work();
  if (setns(own.get(), CLONE_NEWNET) < 0) {
    std::string message = "cannot return to the thread's own network namespace: ";
    message += std::strerror(errno);
    Napi::Error::Fatal("shunt", message.c_str());
  }
  return status;
}

void DefineNetnsFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("newNetns", Napi::Function::New<CreateNetns>(env, "newNetns"));
}

}  // namespace shunt
