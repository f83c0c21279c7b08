// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { type Endpoint, formatEndpoint, unmapAddress } from "./endpoint.ts";

export interface ListenSocketOptions {
  readonly address: string;
  /** 0: the kernel chooses; see `listeningOn`. */
  readonly port: number;
  /** Network-namespace fd to listen in; this process' own when absent. */
  readonly netnsFd?: number;
  /** Accept connections to addresses that are not of this host (IP_TRANSPARENT). */
  readonly transparent?: boolean;
  /** SO_MARK of the listener; accepted sockets inherit it. */
  readonly mark?: number;
}

/** Cut by the kernel to net.core.somaxconn of the namespace. */
export const LISTEN_BACKLOG = 4096;

/**
 * A listening TCP socket as a bare fd, which the caller owns. Every one has SO_REUSEPORT, so that each worker can
 * have its own on the same port; one of IPv6 takes no IPv4. Throws SystemError naming the address.
 */
export function makeListenSocket(options: ListenSocketOptions): number {
  const { address, port, netnsFd, transparent = false, mark } = options;
  const fd = loadAddon().listen({
    address,
    port,
    type: "stream",
    backlog: LISTEN_BACKLOG,
    reusePort: true,
    reuseAddress: true,
    transparent,
    ...(address.includes(":") && { v6only: true }),
    ...(netnsFd !== undefined && { netns: netnsFd }),
    ...(mark !== undefined && { mark }),
  });
  return check(fd, "listen", formatEndpoint(options));
}

/** Where a socket of makeListenSocket listens. */
export function listeningOn(fd: number): Endpoint {
  const { address, port } = check(loadAddon().localAddress(fd), "getsockname", `fd ${fd}`);
  return { address: unmapAddress(address), port };
}
