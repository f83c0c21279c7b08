// SPDX-License-Identifier: Apache-2.0
#include "addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <bit>
#include <cerrno>

#include "args.h"
#include "netns.h"
#include "sockaddr.h"

namespace shunt {
namespace {

uint32_t PrefixLength(const sockaddr* mask) {
  if (mask == nullptr) return 0;
  if (mask->sa_family == AF_INET) {
    return std::popcount(reinterpret_cast<const sockaddr_in*>(mask)->sin_addr.s_addr);
  }
  uint32_t bits = 0;
  for (uint8_t byte : reinterpret_cast<const sockaddr_in6*>(mask)->sin6_addr.s6_addr) bits += std::popcount(byte);
  return bits;
}

Napi::Object DescribeEntry(Napi::Env env, const ifaddrs& entry) {
  char text[INET6_ADDRSTRLEN];
  int family = entry.ifa_addr->sa_family;
  const void* bytes = family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(entry.ifa_addr)->sin_addr)
                          : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(entry.ifa_addr)->sin6_addr);
  inet_ntop(family, bytes, text, sizeof(text));
  Napi::Object result = Napi::Object::New(env);
  result.Set("interface", entry.ifa_name);
  result.Set("address", text);
  result.Set("prefixLength", PrefixLength(entry.ifa_netmask));
  result.Set("up", Napi::Boolean::New(env, (entry.ifa_flags & IFF_UP) != 0));
  return result;
}

Napi::Value InterfaceAddresses(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  if (!args.ok()) return {};
  ifaddrs* list = nullptr;
  int status = InNetns(netns, [&] { return getifaddrs(&list) < 0 ? -errno : 0; });
  if (status < 0) return Status(env, status);
  Napi::Array result = Napi::Array::New(env);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    int family = entry->ifa_addr->sa_family;
    if (family == AF_INET || family == AF_INET6) result.Set(result.Length(), DescribeEntry(env, *entry));
  }
  freeifaddrs(list);
  return result;
}

Napi::Value InterfaceIndexes(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Args args(info);
  std::optional<int> netns = args.OptionalFd(0, "netnsFd");
  if (!args.ok()) return {};
  struct if_nameindex* list = nullptr;
  int status = InNetns(netns, [&] {
    list = if_nameindex();
    return list == nullptr ? -errno : 0;
  });
  if (status < 0) return Status(env, status);
  Napi::Array result = Napi::Array::New(env);
  for (const struct if_nameindex* entry = list; entry->if_index != 0; entry++) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("name", entry->if_name);
    item.Set("index", entry->if_index);
    result.Set(result.Length(), item);
  }
  if_freenameindex(list);
  return result;
}

}  // namespace

void DefineAddressFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("interfaceIndexes", Napi::Function::New<InterfaceIndexes>(env, "interfaceIndexes"));
  exports.Set("interfaceAddresses", Napi::Function::New<InterfaceAddresses>(env, "interfaceAddresses"));
}

}  // namespace shunt
