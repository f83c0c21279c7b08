// SPDX-License-Identifier: Apache-2.0
#include "relay.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "preparation.h"

namespace shunt {
namespace {

/** Chunks of one readable socket before others have their turn. */
constexpr int kChunksInRow = 4;

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/** ENOBUFS is of sockets in a map, while memory is short. */
bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ENOBUFS; }

/** The error that the kernel holds for a socket, and forgets by this call. */
int TakeError(int fd) {
  int error = 0;
  socklen_t size = sizeof(error);
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

}  // namespace

Relay::Relay(RelayContext& context, uint32_t number, int downstream) : context_(context), number_(number) {
  for (End& end : ends_) end.relay = this;
  ends_[0].fd = downstream;
  Touch();
}

Relay::~Relay() { Reset(); }

double Relay::IdleMs() const { return static_cast<double>(Now() - active_ns_) / 1e6; }

void Relay::Touch() { active_ns_ = Now(); }

int Relay::Connect(const SockAddr& remote) {
  End& upstream = ends_[1];
  int status = connect(upstream.fd, &remote.any, remote.size);
  // Over loopback the handshake is over before the call returns: asked again, the kernel says so.
  if (status < 0 && errno == EINPROGRESS) status = connect(upstream.fd, &remote.any, remote.size);
  if (status == 0) return 1;
  // EINTR leaves the connect going on by itself.
  if (errno != EALREADY && errno != EINPROGRESS && errno != EINTR) return -errno;
  connecting_ = true;
  Register(upstream, EPOLLOUT);
  // For nothing but a reset: the client's bytes are left with the kernel until there is somebody to take them.
  Register(ends_[0], 0);
  return 0;
}

void Relay::Start() {
  connecting_ = false;
  started_ = true;
  Touch();
  // Most clients speak first, and have done so by now.
  Receive(ends_[0]);
  if (failed_ || closed()) return;
  Await(ends_[0]);
  Await(ends_[1]);
}

void Relay::Watch(uint64_t one_way_bytes) {
  is_watched_ = true;
  one_way_bytes_ = one_way_bytes;
}

void Relay::OnReady(End& end, uint32_t events) {
  if (end.fd < 0) return;
  if (!started_) return &end == &ends_[1] ? OnConnectReady() : OnClientTrouble();
  if (failed_) return;
  if ((events & EPOLLOUT) && !end.pending.empty()) Flush(end);
  if (end.fd < 0 || failed_ || !(events & ~static_cast<uint32_t>(EPOLLOUT))) return;
  if (end.interest & EPOLLIN) return Receive(end);
  // Only what is waited for comes here, and errors.
  if (int error = TakeError(end.fd)) return Fail(end, -error);
  Unregister(end);
}

void Relay::OnConnectReady() {
  int error = TakeError(ends_[1].fd);
  if (error != 0) return context_.owner->OnConnectFailed(*this, -error);
  context_.owner->OnConnected(*this);
}

void Relay::OnClientTrouble() {
  char byte;
  // Bytes before a reset are for the upstream.
  if (recv(ends_[0].fd, &byte, 1, MSG_PEEK) > 0) return Unregister(ends_[0]);
  int error = TakeError(ends_[0].fd);
  Fail(ends_[0], error != 0 ? -error : -ECONNRESET);
}

void Relay::Receive(End& from) {
  End& to = Other(from);
  for (int chunk = 0; chunk < kChunksInRow; chunk++) {
    ssize_t size = recv(from.fd, context_.buffer.data(), context_.buffer.size(), 0);
    if (size < 0 && WouldBlock(errno)) return;
    if (size < 0) return Fail(from, -errno);
    if (size == 0) return OnInputEnd(from);
    from.received += static_cast<uint64_t>(size);
    Touch();
    if (!Deliver(to, context_.buffer.data(), static_cast<size_t>(size))) return;
    if (!to.pending.empty()) {
      Await(from);
      Await(to);
      return;
    }
    if (is_watched_ && HasLasted() && IsFlushed() && !to.has_ended) {
      context_.owner->OnLasting(*this);
      if (from.fd < 0) return;
    }
    if (static_cast<size_t>(size) < context_.buffer.size()) return;
  }
}

/** One question and its answer are most often all there is. */
bool Relay::HasLasted() {
  uint64_t asked = ends_[0].received;
  uint64_t answered = ends_[1].received;
  if (asked >= one_way_bytes_ || answered >= one_way_bytes_) return true;
  if (answered == 0) return false;
  if (asked_ < 0) asked_ = static_cast<int64_t>(asked);
  return static_cast<int64_t>(asked) != asked_;
}

/** False when the connection has failed. */
bool Relay::Deliver(End& to, const uint8_t* data, size_t size) {
  ssize_t sent = send(to.fd, data, size, MSG_NOSIGNAL);
  if (sent < 0 && !WouldBlock(errno)) return Fail(to, -errno), false;
  size_t done = sent < 0 ? 0 : static_cast<size_t>(sent);
  if (done < size) to.pending.assign(data + done, data + size);
  return true;
}

void Relay::Flush(End& to) {
  size_t left = to.pending.size() - to.pending_from;
  ssize_t sent = send(to.fd, to.pending.data() + to.pending_from, left, MSG_NOSIGNAL);
  if (sent < 0 && WouldBlock(errno)) return;
  if (sent < 0) return Fail(to, -errno);
  Touch();
  to.pending_from += static_cast<size_t>(sent);
  if (to.pending_from < to.pending.size()) return;
  // Freed, not kept: idle connections hold no buffer.
  to.pending = {};
  to.pending_from = 0;
  End& from = Other(to);
  if (from.has_ended) {
    Shut(to);
    if (closed()) return context_.owner->OnFinished(*this);
  } else {
    Await(from);
  }
  if (to.fd >= 0) Await(to);
}

void Relay::OnInputEnd(End& from) {
  // A reset that comes after the end looks like it.
  if (int error = TakeError(from.fd)) return Fail(from, -error);
  End& to = Other(from);
  from.has_ended = true;
  Touch();
  if (to.pending.empty()) Shut(to);
  CloseIfDone(from);
  if (closed()) return context_.owner->OnFinished(*this);
  if (from.fd >= 0) Await(from);
}

int Relay::Take(Side side) {
  End& end = ends_[static_cast<int>(side)];
  Unregister(end);
  return std::exchange(end.fd, -1);
}

/** Tells an end that the other one's input is over. */
void Relay::Shut(End& to) {
  to.is_shut = true;
  // close() says it as well.
  if (!to.has_ended) shutdown(to.fd, SHUT_WR);
  CloseIfDone(to);
  CloseIfDone(Other(to));
}

void Relay::CloseIfDone(End& end) {
  if (end.fd < 0 || !end.has_ended || !end.is_shut) return;
  SetLinger(end.fd, -1);
  CloseSocket(end);
}

void Relay::Fail(End& end, int status) {
  failed_ = true;
  for (End& each : ends_) Unregister(each);
  context_.owner->OnFailed(*this, SideOf(end), status);
}

void Relay::Reset() {
  failed_ = true;
  for (End& end : ends_) {
    if (end.fd < 0) continue;
    SetLinger(end.fd, 0);
    CloseSocket(end);
  }
}

void Relay::Close() {
  failed_ = true;
  for (End& end : ends_) {
    if (end.fd < 0) continue;
    SetLinger(end.fd, -1);
    CloseSocket(end);
  }
}

void Relay::Await(End& end) {
  uint32_t interest = 0;
  if (!end.has_ended && Other(end).pending.empty()) interest |= EPOLLIN;
  if (!end.pending.empty()) interest |= EPOLLOUT;
  // Watched for nothing, a socket that both sides have shut would be reported for ever.
  if (interest == 0)
    Unregister(end);
  else
    Register(end, interest);
}

void Relay::Register(End& end, uint32_t interest) {
  if (end.registered && end.interest == interest) return;
  epoll_event event{};
  event.events = interest;
  event.data.ptr = static_cast<Watched*>(&end);
  epoll_ctl(context_.epoll, end.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, end.fd, &event);
  end.registered = true;
  end.interest = interest;
}

void Relay::Unregister(End& end) {
  if (!end.registered) return;
  epoll_ctl(context_.epoll, EPOLL_CTL_DEL, end.fd, nullptr);
  end.registered = false;
  end.interest = 0;
}

void Relay::CloseSocket(End& end) {
  // Not left to close(): a child that is being made may hold the descriptor as well for a moment.
  Unregister(end);
  close(end.fd);
  end.fd = -1;
}

}  // namespace shunt
