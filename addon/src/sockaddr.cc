// SPDX-License-Identifier: Apache-2.0
#include "sockaddr.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <cerrno>
#include <cstdlib>

#include "args.h"

namespace shunt {

std::optional<SockAddr> SockAddr::Parse(const std::string& address, uint16_t port) {
  SockAddr result{};
  if (inet_pton(AF_INET, address.c_str(), &result.v4.sin_addr) == 1) {
    result.v4.sin_family = AF_INET;
    result.v4.sin_port = htons(port);
    result.size = sizeof(sockaddr_in);
    return result;
  }
  result = {};
  size_t percent = address.find('%');
  if (inet_pton(AF_INET6, address.substr(0, percent).c_str(), &result.v6.sin6_addr) != 1) return std::nullopt;
  result.v6.sin6_family = AF_INET6;
  result.v6.sin6_port = htons(port);
  result.size = sizeof(sockaddr_in6);
  if (percent == std::string::npos) return result;
  std::string scope = address.substr(percent + 1);
  result.v6.sin6_scope_id = if_nametoindex(scope.c_str());
  if (result.v6.sin6_scope_id == 0) result.v6.sin6_scope_id = std::strtoul(scope.c_str(), nullptr, 10);
  if (result.v6.sin6_scope_id == 0) return std::nullopt;
  return result;
}

Napi::Value Describe(Napi::Env env, const SockAddr& address) {
  char text[INET6_ADDRSTRLEN];
  uint16_t port;
  if (address.family() == AF_INET) {
    inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text));
    port = ntohs(address.v4.sin_port);
  } else if (address.family() == AF_INET6) {
    inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text));
    port = ntohs(address.v6.sin6_port);
  } else {
    return Status(env, -EAFNOSUPPORT);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("address", text);
  result.Set("port", port);
  return result;
}

}  // namespace shunt
