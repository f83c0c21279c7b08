// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "handle.h"
#include "poll.h"
#include "sockaddr.h"
#include "socket.h"

namespace shunt {
namespace {

/** Waits until a connecting socket is writable or failed, and reports SO_ERROR once. */
class ConnectPoll : public Poll {
 public:
  ConnectPoll(Environment& environment, int fd, Napi::Function callback)
      : Poll(environment), fd_(fd), callback_(Napi::Persistent(callback)) {}

 private:
  void OnReady(int status) override {
    int error = 0;
    socklen_t size = sizeof(error);
    // libuv reports a failed connect as EBADF; the socket knows better.
    if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error == 0 && status < 0) error = -status;
    CallScope scope(environment());
    Napi::FunctionReference callback = std::move(callback_);
    // First, so that the callback can give the descriptor to a net.Socket of the same loop.
    Close();
    scope.Call(callback, {Napi::Number::New(environment().env(), -error)});
  }

  void OnClose() override { callback_.Reset(); }

  // A thread that is terminated takes with it the only script that knows the descriptor.
  void OnTeardown() override { close(fd_); }

  int fd_;
  Napi::FunctionReference callback_;
};

/** The JavaScript face of a ConnectPoll; closes (cancels) with it. */
class Connect {
 public:
  static constexpr Class kClass = Class::kConnect;
  static constexpr const char* kName = "Connect";
  static std::vector<napi_property_descriptor> Properties() { return {Handle<Connect>::CloseMethod("cancel")}; }

  explicit Connect(Poll* poll) : poll_(poll) { poll_->SetSlot(&poll_); }
  ~Connect() { Close(); }
  bool closed() const { return poll_ == nullptr; }
  void Close() {
    if (poll_ != nullptr) poll_->Close();
  }

 private:
  Poll* poll_;
};

Napi::Value ConnectSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  int fd = args.Fd(0, "fd");
  std::string address = args.Text(1, "address");
  uint16_t port = args.Port(2, "port");
  Napi::Function callback = args.Function(3, "callback");
  if (!args.ok()) return {};
  std::optional<SockAddr> remote = SockAddr::Parse(address, port);
  if (!remote) return Status(env, -EINVAL);
  // EINTR leaves the connect going on by itself, as EINPROGRESS does.
  if (connect(fd, &remote->any, remote->size) < 0 && errno != EINPROGRESS && errno != EINTR) {
    return Status(env, -errno);
  }
  auto* poll = new ConnectPoll(Environment::Of(env), fd, callback);
  int status = poll->Start(fd, UV_WRITABLE);
  if (status < 0) return Status(env, status);
  Napi::Value object = Handle<Connect>::Wrap(env, std::make_unique<Connect>(poll));
  if (!object.IsEmpty()) poll->KeepAlive(object.As<Napi::Object>());
  return object;
}

}  // namespace

void DefineConnectFunctions(Napi::Env env, Napi::Object exports) {
  Handle<Connect>::Define(env);
  exports.Set("connectSocket", Napi::Function::New<ConnectSocket>(env, "connectSocket"));
}

}  // namespace shunt
