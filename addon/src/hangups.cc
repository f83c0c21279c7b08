// SPDX-License-Identifier: Apache-2.0
#include "hangups.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "owned-fd.h"
#include "watcher.h"

namespace shunt {
namespace {

/** Waits for an epoll descriptor, and tells which of its sockets the other end has closed, or half of it. */
class HangupPoll : public Poll {
 public:
  HangupPoll(Environment& environment, OwnedFd epoll, Napi::Function callback)
      : Poll(environment), epoll_(std::move(epoll)), callback_(Napi::Persistent(callback)) {}

  int fd() const { return epoll_.get(); }

 private:
  void OnReady(int) override {
    std::array<epoll_event, 64> events;
    int count = epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    if (count <= 0) return;
    CallScope scope(environment());
    for (int i = 0; i < count && !closing(); i++) {
      scope.Call(callback_, {Napi::Number::New(environment().env(), events[i].data.fd)});
    }
  }

  void OnClose() override {
    callback_.Reset();
    epoll_.Reset();
  }

  OwnedFd epoll_;
  Napi::FunctionReference callback_;
};

Napi::Value CreateEpoll(const Napi::CallbackInfo& info) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  return Status(info.Env(), fd < 0 ? -errno : fd);
}

Napi::Value WatchHangup(const Napi::CallbackInfo& info) {
  Args args(info);
  int epoll = args.Fd(0, "epollFd");
  int socket = args.Fd(1, "fd");
  bool on = args.Boolean(2, "on");
  if (!args.ok()) return {};
  // Errors and full hang-ups come unasked; data is not asked for.
  epoll_event event{};
  event.events = EPOLLRDHUP | EPOLLET;
  event.data.fd = socket;
  int status = epoll_ctl(epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket, &event);
  return Status(info.Env(), status < 0 ? -errno : 0);
}

Napi::Value OpenHangups(const Napi::CallbackInfo& info) {
  Args args(info);
  int epoll = args.Fd(0, "epollFd");
  Napi::Function callback = args.Function(1, "onHangup");
  if (!args.ok()) return {};
  OwnedFd own(fcntl(epoll, F_DUPFD_CLOEXEC, 3));
  if (!own.valid()) return Status(info.Env(), -errno);
  auto* poll = new HangupPoll(Environment::Of(info.Env()), std::move(own), callback);
  return Watcher::Start(info.Env(), poll, poll->fd());
}

/**
 * uv_read_stop leaves the socket in the loop's epoll set until its next event (uv__io_poll). One whose data never
 * becomes readable has none, and wakes the thread for each packet all the same.
 */
Napi::Value LeaveLoop(const Napi::CallbackInfo& info) {
  Args args(info);
  int socket = args.Fd(0, "fd");
  if (!args.ok()) return {};
  epoll_event unused{};
  int status = epoll_ctl(uv_backend_fd(Environment::Of(info.Env()).loop()), EPOLL_CTL_DEL, socket, &unused);
  return Status(info.Env(), status < 0 ? -errno : 0);
}

}  // namespace

void DefineHangupFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("createEpoll", Napi::Function::New<CreateEpoll>(env, "createEpoll"));
  exports.Set("watchHangup", Napi::Function::New<WatchHangup>(env, "watchHangup"));
  exports.Set("leaveLoop", Napi::Function::New<LeaveLoop>(env, "leaveLoop"));
  exports.Set("hangups", Napi::Function::New<OpenHangups>(env, "hangups"));
}

}  // namespace shunt
