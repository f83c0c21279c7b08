// SPDX-License-Identifier: Apache-2.0
import { fstatSync, readdirSync } from "node:fs";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check, SystemError } from "../native/status.ts";
import { makeListenSocket } from "../net/listen-socket.ts";
import { PROXY_MARK } from "./identity.ts";

export interface ListenerAddress {
  readonly family: 4 | 6;
  readonly address: string;
}

export const LOOPBACK: readonly ListenerAddress[] = [
  { family: 4, address: "127.0.0.1" },
  { family: 6, address: "::1" },
];

/** REDIRECT of what comes from outside goes to the address of the interface it came in by. */
export const ANY: readonly ListenerAddress[] = [
  { family: 4, address: "0.0.0.0" },
  { family: 6, address: "::" },
];

/** Where the listener of a direction is reached: `transparent` is loopback, for connections to any address (TPROXY). */
export type Reach = "loopback" | "any" | "transparent";

const PORT_ATTEMPTS = 16;
const SOCKETS_OF_THIS_PROCESS = "/proc/self/fd";

/**
 * A descriptor of our own, the caller's to close, of a socket that any thread of this process has open; undefined when none
 * has. A number that a thread closes meanwhile, and another takes, is told by its inode.
 */
export function findOwnSocket(inode: number): number | undefined {
  for (const name of readdirSync(SOCKETS_OF_THIS_PROCESS)) {
    const fd = Number(name);
    if (inodeOf(fd) !== inode) continue;
    const copy = loadAddon().duplicate(fd);
    if (copy < 0) continue;
    if (inodeOf(copy) === inode) return copy;
    loadAddon().closeFd(copy);
  }
  return undefined;
}

export function inodeOf(fd: number): number | undefined {
  try {
    return fstatSync(fd).ino;
  } catch {
    // Closed meanwhile.
    return undefined;
  }
}

/** One listening socket of a reuseport group inside the namespace; the fd is the caller's. */
export function listenerFd(netns: NetworkNamespace, address: string, port: number, transparent = false): number {
  return makeListenSocket({ address, port, netnsFd: netns.fd, mark: PROXY_MARK, transparent });
}

/** A bound UDP socket inside the namespace; the fd is the caller's. */
export function datagramFd(netns: NetworkNamespace, address: string, port: number): number {
  const options = { address, port, type: "dgram" as const, netns: netns.fd, mark: PROXY_MARK };
  return check(
    loadAddon().listen(address.includes(":") ? { ...options, v6only: true } : options),
    "bind",
    `${address} port ${port} in ${netns.path}`,
  );
}

/**
 * Finds a port that is free in both families, for all of the socket types. `port` 0 asks for any; a given one must be
 * free, or it throws a SystemError (EADDRINUSE) that names address and port. Without SO_REUSEPORT, so that nobody
 * else's group is joined.
 */
export function reservePort(
  netns: NetworkNamespace,
  port: number,
  addresses: readonly ListenerAddress[],
  types: readonly ("stream" | "dgram")[] = ["stream"],
): number {
  const sockets = addresses.flatMap(({ address }) => types.map((type) => ({ address, type })));
  for (let attempt = 0; ; attempt++) {
    const probes: number[] = [];
    try {
      let chosen = port;
      for (const { address, type } of sockets) {
        const fd = type === "stream" ? boundStream(netns, address, chosen) : datagramFd(netns, address, chosen);
        probes.push(fd);
        chosen = check(loadAddon().localAddress(fd), "getsockname").port;
      }
      return chosen;
    } catch (error) {
      const taken = error instanceof SystemError && error.errnoName === "EADDRINUSE";
      if (port !== 0 || !taken || attempt >= PORT_ATTEMPTS) throw error;
    } finally {
      for (const fd of probes) loadAddon().closeFd(fd);
    }
  }
}

/** Bound only: a listener would get connections that are redirected already, of an agent before us, and lose them. */
function boundStream(netns: NetworkNamespace, address: string, port: number): number {
  const fd = loadAddon().bindSocket({
    address,
    port: 0,
    bindAddress: address,
    bindPort: port,
    // Connections of an agent before us may linger in TIME_WAIT; SO_REUSEADDR ignores those and no listener.
    reuseAddress: true,
    netns: netns.fd,
  });
  return check(fd, "bind", `${address} port ${port} in ${netns.path}`);
}
