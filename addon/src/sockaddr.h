// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_SOCKADDR_H_
#define SHUNT_SOCKADDR_H_

#include <napi.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace shunt {

/** An IPv4 or IPv6 socket address. */
struct SockAddr {
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  };
  socklen_t size;

  /** An address in text; "%" and an interface (name or index) may follow a link-local one. */
  static std::optional<SockAddr> Parse(const std::string& address, uint16_t port);
  int family() const { return any.sa_family; }
  /** In host order. */
  uint16_t port() const;
  /** As inet_ntop writes it into `buffer` of INET6_ADDRSTRLEN; "" for other families. */
  const char* Text(char* buffer) const;
};

/** `{address, port}`, or −EAFNOSUPPORT for other families. */
Napi::Value Describe(Napi::Env env, const SockAddr& address);

}  // namespace shunt
#endif  // SHUNT_SOCKADDR_H_
