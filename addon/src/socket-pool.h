// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_SOCKET_POOL_H_
#define SHUNT_SOCKET_POOL_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "preparation.h"
#include "sockaddr.h"

namespace shunt {

/** What the sockets of a pool have in common. */
struct SocketKind {
  int family;
  /** A descriptor of the namespace they are made in, the caller's; the thread's own when absent. */
  std::optional<int> netns;
  Preparation preparation;
  /** Bound to it, without a port. */
  std::optional<SockAddr> source;
};

/**
 * Unconnected sockets of one kind, some in store: entering a namespace and preparing a socket costs more than the rest
 * of what has to be done for a connection, and so it is done for several at a time. How many doubles with use.
 */
class SocketPool {
 public:
  explicit SocketPool(SocketKind kind) : kind_(kind) {}
  SocketPool(const SocketPool&) = delete;
  ~SocketPool();

  /** A descriptor, the caller's from now on, or −errno. */
  int Take();

 private:
  static constexpr size_t kMost = 16;

  int Fill();
  int Make() const;

  SocketKind kind_;
  std::vector<int> store_;
  size_t next_ = 1;
};

}  // namespace shunt
#endif  // SHUNT_SOCKET_POOL_H_
