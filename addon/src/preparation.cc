// SPDX-License-Identifier: Apache-2.0
#include "preparation.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

namespace shunt {
namespace {

// Not in every libc's headers; values from include/uapi/linux/{in,in6}.h.
constexpr int kIpBindAddressNoPort = 24;
constexpr int kIpv6Transparent = 75;
constexpr int kIpv6Freebind = 78;

}  // namespace

int SetOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int SetLinger(int fd, int32_t seconds) {
  linger value{seconds >= 0, seconds >= 0 ? seconds : 0};
  return setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value)) < 0 ? -errno : 0;
}

void Preparation::ReadCommon(Args& args) {
  mark = args.FieldOptionalUnsigned("mark");
  reuse_address = args.FieldBoolean("reuseAddress");
  transparent = args.FieldBoolean("transparent");
  freebind = args.FieldBoolean("freebind");
}

int Preparation::Apply(int fd, int family) const {
  bool v6 = family == AF_INET6;
  int level = v6 ? SOL_IPV6 : SOL_IP;
  int status = 0;
  auto set = [&](bool wanted, int option_level, int name, int value) {
    if (status == 0 && wanted) status = SetOption(fd, option_level, name, value);
  };
  set(mark.has_value(), SOL_SOCKET, SO_MARK, static_cast<int>(mark.value_or(0)));
  set(reuse_address, SOL_SOCKET, SO_REUSEADDR, 1);
  set(reuse_port, SOL_SOCKET, SO_REUSEPORT, 1);
  set(transparent, level, v6 ? kIpv6Transparent : IP_TRANSPARENT, 1);
  set(freebind, level, v6 ? kIpv6Freebind : IP_FREEBIND, 1);
  // Of AF_INET6 sockets too: they have no option of their own for it.
  set(bind_no_port, SOL_IP, kIpBindAddressNoPort, 1);
  set(no_delay, IPPROTO_TCP, TCP_NODELAY, 1);
  if (status == 0 && linger) status = SetLinger(fd, static_cast<int32_t>(*linger));
  set(v6 && v6only.has_value(), SOL_IPV6, IPV6_V6ONLY, v6only.value_or(false));
  return status;
}

}  // namespace shunt
