// SPDX-License-Identifier: Apache-2.0
#ifndef SHUNT_PREPARATION_H_
#define SHUNT_PREPARATION_H_

#include <cstdint>
#include <optional>

#include "args.h"

namespace shunt {

/** setsockopt of an integer: 0 or −errno. */
int SetOption(int fd, int level, int name, int value);

/** `seconds` negative: no lingering, the default. */
int SetLinger(int fd, int32_t seconds);

/** What a socket is told before it is bound. */
struct Preparation {
  std::optional<uint32_t> mark;
  bool reuse_address = false;
  bool reuse_port = false;
  bool transparent = false;
  bool freebind = false;
  bool bind_no_port = false;
  bool no_delay = false;
  std::optional<uint32_t> linger;
  std::optional<bool> v6only;

  void ReadCommon(Args& args);
  /** 0 or −errno. */
  int Apply(int fd, int family) const;
};

}  // namespace shunt
#endif  // SHUNT_PREPARATION_H_
