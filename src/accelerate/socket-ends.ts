// SPDX-License-Identifier: Apache-2.0
import type { SocketKey } from "../bpf/generated/types.ts";
import type { SocketAddress } from "../native/addon.ts";

/** A socket by its two ends, as its owner sees them. */
export interface SocketEnds {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

const AF_INET = 2;
const AF_INET6 = 10;

/** `netns`: cookie of its network namespace. */
export function keyOfEnds(netns: bigint, { local, remote }: SocketEnds): SocketKey {
  return {
    netns,
    local: local.address,
    remote: remote.address,
    localPort: local.port,
    remotePort: remote.port,
    family: local.address.includes(":") ? AF_INET6 : AF_INET,
  };
}
