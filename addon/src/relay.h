// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_RELAY_H_
#define SHUNT_RELAY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sockaddr.h"

namespace shunt {

class Relay;

/** Something with a descriptor in an epoll instance; epoll's data is a pointer to it. */
class Watched {
 public:
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~Watched() = default;
};

enum class Side { kDownstream, kUpstream };

/** Who has relays. Each of these may reset the relay, or end it. */
class RelayOwner {
 public:
  virtual void OnConnected(Relay& relay) = 0;
  /** No connection to the upstream has come about. */
  virtual void OnConnectFailed(Relay& relay, int status) = 0;
  /** A socket of the relay has failed; nothing more happens to either until Reset. */
  virtual void OnFailed(Relay& relay, Side side, int status) = 0;
  /** A watched connection has shown that it is more than a question and an answer; nothing of it waits here. */
  virtual void OnLasting(Relay& relay) = 0;
  /** Both sockets are closed, in order. */
  virtual void OnFinished(Relay& relay) = 0;

 protected:
  ~RelayOwner() = default;
};

/** What the relays of one thread share. */
struct RelayContext {
  static constexpr size_t kBufferSize = 131072;

  RelayOwner* owner;
  int epoll;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(kBufferSize);
};

/**
 * The two sockets of a proxied connection and the bytes between them. The kernel's send buffer is the buffer: reading
 * stops while the other side has not taken the last chunk. End of input becomes shutdown of the other side once
 * everything is written. Until a socket has ended both ways whoever closes it sends RST; the relay then closes it in
 * order.
 */
class Relay {
 public:
  /** `downstream` is accepted, resets when it is closed, and is this object's from now on. */
  Relay(RelayContext& context, uint32_t number, int downstream);
  Relay(const Relay&) = delete;
  ~Relay();

  uint32_t number() const { return number_; }
  bool closed() const { return ends_[0].fd < 0 && ends_[1].fd < 0; }
  int fd(Side side) const { return ends_[static_cast<int>(side)].fd; }

  /** The socket to connect with, which resets when it is closed; this object's from now on. */
  void SetUpstream(int fd) { ends_[1].fd = fd; }
  /** 1 when it is established already, 0 when OnConnected or OnConnectFailed will follow, −errno. */
  int Connect(const SockAddr& remote);
  /** Bytes go from now on; called once the upstream is established. */
  void Start();
  /** OnLasting is called at the second exchange, or when one direction has carried `one_way_bytes`, until it is taken.
   */
  void Watch(uint64_t one_way_bytes);
  /** Gives a socket away; the relay forgets it. */
  int Take(Side side);
  /** Closes both sockets by RST. OnFinished is not called. */
  void Reset();
  /** Closes both sockets by FIN. OnFinished is not called. */
  void Close();

  uint64_t bytes_from(Side side) const { return ends_[static_cast<int>(side)].received; }
  /** Milliseconds since bytes last moved. */
  double IdleMs() const;
  void Touch();
  bool IsFlushed() const { return ends_[0].pending.empty() && ends_[1].pending.empty(); }

 private:
  struct End final : Watched {
    void OnReady(uint32_t events) override { relay->OnReady(*this, events); }

    Relay* relay = nullptr;
    int fd = -1;
    bool registered = false;
    uint32_t interest = 0;
    /** End of its input has been read. */
    bool has_ended = false;
    /** It has been told the end of the other's input. */
    bool is_shut = false;
    uint64_t received = 0;
    /** Read from the other end and not taken by the kernel yet. */
    std::vector<uint8_t> pending;
    size_t pending_from = 0;
  };

  End& Other(End& end) { return ends_[&end == &ends_[0]]; }
  Side SideOf(const End& end) const { return &end == &ends_[0] ? Side::kDownstream : Side::kUpstream; }

  void OnReady(End& end, uint32_t events);
  void OnConnectReady();
  void OnClientTrouble();
  void Receive(End& from);
  bool Deliver(End& to, const uint8_t* data, size_t size);
  void Flush(End& to);
  void OnInputEnd(End& from);
  void Shut(End& to);
  void CloseIfDone(End& end);
  void Fail(End& end, int status);
  bool HasLasted();
  /** Makes epoll wait for what this end has to wait for. */
  void Await(End& end);
  void Register(End& end, uint32_t interest);
  void Unregister(End& end);
  void CloseSocket(End& end);

  RelayContext& context_;
  uint32_t number_;
  End ends_[2];
  bool connecting_ = false;
  bool started_ = false;
  bool failed_ = false;
  bool is_watched_ = false;
  uint64_t one_way_bytes_ = 0;
  /** Bytes from the downstream when the first answer came; −1 before. */
  int64_t asked_ = -1;
  uint64_t active_ns_ = 0;
};

}  // namespace shunt
#endif  // SHUNT_RELAY_H_
