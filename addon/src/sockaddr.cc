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

uint16_t SockAddr::port() const {
  if (family() == AF_INET) return ntohs(v4.sin_port);
  return family() == AF_INET6 ? ntohs(v6.sin6_port) : 0;
}

const char* SockAddr::Text(char* buffer) const {
  buffer[0] = '\0';
  if (family() == AF_INET) inet_ntop(AF_INET, &v4.sin_addr, buffer, INET6_ADDRSTRLEN);
  if (family() == AF_INET6) inet_ntop(AF_INET6, &v6.sin6_addr, buffer, INET6_ADDRSTRLEN);
  return buffer;
}

Napi::Value Describe(Napi::Env env, const SockAddr& address) {
  if (address.family() != AF_INET && address.family() != AF_INET6) return Status(env, -EAFNOSUPPORT);
  char text[INET6_ADDRSTRLEN];
  Napi::Object result = Napi::Object::New(env);
  result.Set("address", address.Text(text));
  result.Set("port", address.port());
  return result;
}

}  // namespace shunt
