// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_CARRIER_H_
#define SHUNT_CARRIER_H_

#include <memory>
#include <unordered_map>
#include <vector>

#include "owned-fd.h"
#include "poll.h"
#include "relay.h"
#include "socket-pool.h"

namespace shunt {

/** What JavaScript is told of; the order of their names in carrier.cc. */
enum class Told { kAccept, kAcceptError, kConnected, kConnectFailed, kFailed, kLasting, kFinished, kCount };

/**
 * All connections of one thread, in an epoll instance of its own: libuv's loop sees one descriptor, however many
 * connections there are, and JavaScript hears of beginnings and ends.
 */
class Carrier : public Poll, private RelayOwner {
 public:
  using Callbacks = std::array<Napi::FunctionReference, static_cast<size_t>(Told::kCount)>;

  Carrier(Environment& environment, OwnedFd epoll, Callbacks callbacks);

  /** Accepts from now on; 0, and `fd` is the carrier's, or −errno. */
  int Listen(uint32_t listener, int fd);
  void StopListening(uint32_t listener);
  uint32_t AddRoute(SocketKind kind);
  void RemoveRoute(uint32_t route) { routes_.erase(route); }
  /** Null for one there is not. */
  SocketPool* route(uint32_t number);
  Relay* relay(uint32_t number) { return number < relays_.size() ? relays_[number].get() : nullptr; }
  /** The number is free again. */
  void Release(uint32_t number);

 private:
  class Listener;

  ~Carrier() override;
  void OnReady(int status) override;
  void OnClose() override;

  void OnAccepted(uint32_t listener, int fd);
  void OnConnected(Relay& relay) override;
  void OnConnectFailed(Relay& relay, int status) override;
  void OnFailed(Relay& relay, Side side, int status) override;
  void OnLasting(Relay& relay) override;
  void OnFinished(Relay& relay) override;

  void Tell(Told what, std::initializer_list<napi_value> arguments);
  napi_value Number(double value) { return Napi::Number::New(environment().env(), value); }

  OwnedFd epoll_;
  /** Given up for a moment when there are no more descriptors. */
  OwnedFd spare_;
  RelayContext context_;
  Callbacks callbacks_;
  std::vector<std::unique_ptr<Relay>> relays_;
  std::vector<uint32_t> free_;
  std::unordered_map<uint32_t, std::unique_ptr<Listener>> listeners_;
  std::unordered_map<uint32_t, std::unique_ptr<SocketPool>> routes_;
  uint32_t next_route_ = 1;
  /** Events that are being told may still point there. */
  std::vector<std::unique_ptr<Relay>> buried_relays_;
  std::vector<std::unique_ptr<Listener>> buried_listeners_;
  CallScope* scope_ = nullptr;
};

}  // namespace shunt
#endif  // SHUNT_CARRIER_H_
