// SPDX-License-Identifier: Apache-2.0
#include "carrier.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

#include "preparation.h"

namespace shunt {
namespace {

constexpr int kEvents = 64;
/** Without a look at the rest of the loop. */
constexpr int kRounds = 4;
/** Connections in a row. */
constexpr int kAccepts = 64;

OwnedFd OpenSpare() { return OwnedFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

/** A listening socket. */
class Carrier::Listener final : public Watched {
 public:
  Listener(Carrier& carrier, uint32_t number, int fd) : carrier_(carrier), number_(number), fd_(fd) {}

  int Start() {
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (getsockopt(fd_.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0) return -errno;
    if (!listens) return -EINVAL;
    // Accepted sockets inherit it.
    int status = SetOption(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    if (status < 0) return status;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = static_cast<Watched*>(this);
    return epoll_ctl(carrier_.epoll_.get(), EPOLL_CTL_ADD, fd_.get(), &event) < 0 ? -errno : 0;
  }

  void Stop() {
    epoll_ctl(carrier_.epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
    fd_.Reset();
  }
  int Release() { return fd_.Release(); }

  void OnReady(uint32_t) override {
    for (int i = 0; i < kAccepts && fd_.valid(); i++) {
      int fd = accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        carrier_.OnAccepted(number_, fd);
      } else if (errno == EAGAIN) {
        return;
      } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
        return OnError(errno);
      }
    }
  }

 private:
  void OnError(int error) {
    // Whoever waits would be announced for ever: with the spare descriptor one is taken in, and reset.
    if (error == EMFILE || error == ENFILE) {
      carrier_.spare_.Reset();
      OwnedFd refused(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      refused.Reset();
      carrier_.spare_ = OpenSpare();
    }
    carrier_.Tell(Told::kAcceptError, {carrier_.Number(number_), carrier_.Number(-error)});
  }

  Carrier& carrier_;
  uint32_t number_;
  OwnedFd fd_;
};

Carrier::Carrier(Environment& environment, OwnedFd epoll, Callbacks callbacks)
    : Poll(environment),
      epoll_(std::move(epoll)),
      spare_(OpenSpare()),
      context_{static_cast<RelayOwner*>(this), epoll_.get()},
      callbacks_(std::move(callbacks)) {}

Carrier::~Carrier() = default;

int Carrier::Listen(uint32_t number, int fd) {
  auto listener = std::make_unique<Listener>(*this, number, fd);
  int status = listener->Start();
  if (status < 0) {
    listener->Release();
    return status;
  }
  listeners_[number] = std::move(listener);
  return 0;
}

void Carrier::StopListening(uint32_t number) {
  auto found = listeners_.find(number);
  if (found == listeners_.end()) return;
  found->second->Stop();
  if (scope_ != nullptr) buried_listeners_.push_back(std::move(found->second));
  listeners_.erase(found);
}

uint32_t Carrier::AddRoute(SocketKind kind) {
  routes_[next_route_] = std::make_unique<SocketPool>(std::move(kind));
  return next_route_++;
}

SocketPool* Carrier::route(uint32_t number) {
  auto found = routes_.find(number);
  return found == routes_.end() ? nullptr : found->second.get();
}

void Carrier::Release(uint32_t number) {
  std::unique_ptr<Relay> relay = std::move(relays_[number]);
  relay->Reset();
  if (scope_ != nullptr) buried_relays_.push_back(std::move(relay));
  free_.push_back(number);
}

void Carrier::OnReady(int) {
  CallScope scope(environment());
  scope_ = &scope;
  epoll_event events[kEvents];
  for (int round = 0; round < kRounds && !closing(); round++) {
    int count = epoll_wait(epoll_.get(), events, kEvents, 0);
    for (int i = 0; i < count && !closing(); i++) static_cast<Watched*>(events[i].data.ptr)->OnReady(events[i].events);
    buried_relays_.clear();
    buried_listeners_.clear();
    if (count <= 0) break;
  }
  scope_ = nullptr;
}

void Carrier::OnClose() {
  // Sockets reset: nobody is left who could carry what they hold.
  for (auto& relay : relays_) {
    if (!relay) continue;
    relay->Reset();
    buried_relays_.push_back(std::move(relay));
  }
  for (auto& [number, listener] : listeners_) {
    listener->Stop();
    buried_listeners_.push_back(std::move(listener));
  }
  relays_.clear();
  free_.clear();
  listeners_.clear();
  routes_.clear();
  for (auto& callback : callbacks_) callback.Reset();
}

void Carrier::OnAccepted(uint32_t listener, int fd) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(relays_.size()));
    relays_.emplace_back();
  }
  uint32_t number = free_.back();
  free_.pop_back();
  relays_[number] = std::make_unique<Relay>(context_, number, fd);
  Napi::HandleScope handles(environment().env());
  Napi::Env env = environment().env();
  SockAddr local{}, remote{};
  socklen_t size = sizeof(sockaddr_in6);
  getsockname(fd, &local.any, &size);
  size = sizeof(sockaddr_in6);
  // Fails for a connection that was reset while it waited to be accepted.
  bool has_peer = getpeername(fd, &remote.any, &size) == 0;
  Tell(Told::kAccept, {Number(listener), Number(number), Number(fd), Describe(env, local),
                       has_peer ? Describe(env, remote) : env.Undefined()});
}

void Carrier::OnConnected(Relay& relay) { Tell(Told::kConnected, {Number(relay.number())}); }

void Carrier::OnConnectFailed(Relay& relay, int status) {
  Tell(Told::kConnectFailed, {Number(relay.number()), Number(status)});
}

void Carrier::OnFailed(Relay& relay, Side side, int status) {
  Tell(Told::kFailed, {Number(relay.number()), Number(static_cast<int>(side)), Number(status)});
}

void Carrier::OnLasting(Relay& relay) { Tell(Told::kLasting, {Number(relay.number())}); }

void Carrier::OnFinished(Relay& relay) {
  Tell(Told::kFinished, {Number(relay.number()), Number(static_cast<double>(relay.bytes_from(Side::kDownstream))),
                         Number(static_cast<double>(relay.bytes_from(Side::kUpstream)))});
}

void Carrier::Tell(Told what, std::initializer_list<napi_value> arguments) {
  if (scope_ == nullptr || closing()) return;
  scope_->Call(callbacks_[static_cast<size_t>(what)], arguments);
}

}  // namespace shunt
