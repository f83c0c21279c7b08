// SPDX-License-Identifier: Apache-2.0
/**
 * Sockets towards resolvers, made inside the workload's namespace and marked as the proxy's own, so that
 * they take the workload's routes and are not captured again.
 */
import dgram from "node:dgram";
import { isIPv6, Socket } from "node:net";
import type { NativeAddon } from "../native/addon.ts";
import { errnoName } from "../native/status.ts";
import { DnsSocketError, type Resolver } from "./resolver.ts";

export interface UpstreamSockets {
  readonly addon: Pick<NativeAddon, "listen" | "bindSocket" | "connectSocket" | "closeFd">;
  /** The workload's namespace; the caller's own when absent. */
  readonly netnsFd?: number;
  readonly mark?: number;
}

function placement(sockets: UpstreamSockets): { netns?: number; mark?: number } {
  return {
    ...(sockets.netnsFd !== undefined && { netns: sockets.netnsFd }),
    ...(sockets.mark !== undefined && { mark: sockets.mark }),
  };
}

/**
 * A UDP socket of its own for one try. The kernel gives it a random port (the second half of what a forged
 * answer has to guess), and, being connected, it takes datagrams from the resolver alone and reports when
 * nobody listens there. `ready` comes once the socket can send; errors come as the socket's "error".
 */
export function openUdp(sockets: UpstreamSockets, resolver: Resolver, ready: () => void): dgram.Socket {
  const v6 = isIPv6(resolver.address);
  const fd = sockets.addon.listen({
    address: v6 ? "::" : "0.0.0.0",
    port: 0,
    type: "dgram",
    ...(v6 && { v6only: true }),
    ...placement(sockets),
  });
  if (fd < 0) throw new DnsSocketError("ERR_DNS_SOCKET", `no UDP socket towards ${resolver.address}: ${errnoName(fd)}`);
  const socket = dgram.createSocket({ type: v6 ? "udp6" : "udp4", lookup: literalLookup });
  // Its "error" has a listener before anything can fail: the caller adds one synchronously.
  socket.bind({ fd, exclusive: true }, () => socket.connect(resolver.port, resolver.address));
  socket.once("connect", ready);
  return socket;
}

/** Addresses are literals; nothing is ever looked up by the resolver of the host. */
function literalLookup(
  address: string,
  _options: unknown,
  callback: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  callback(null, address, isIPv6(address) ? 6 : 4);
}

/** Connects over TCP; exactly one of the callbacks comes, later, unless `cancel` came first. */
export function openTcp(
  sockets: UpstreamSockets,
  resolver: Resolver,
  callbacks: { connected(socket: Socket): void; failed(error: Error): void },
): { cancel(): void } {
  const { addon } = sockets;
  const fd = addon.bindSocket({ address: resolver.address, port: resolver.port, ...placement(sockets) });
  const fail = (errno: number): void =>
    callbacks.failed(
      new DnsSocketError(
        "ERR_DNS_SOCKET",
        `no TCP connection to ${resolver.address} port ${resolver.port}: ${errnoName(errno)}`,
      ),
    );
  if (fd < 0) {
    const pending = setImmediate(fail, -fd);
    return { cancel: () => clearImmediate(pending) };
  }
  let settled = false;
  const connect = addon.connectSocket(fd, resolver.address, resolver.port, (status) => {
    settled = true;
    if (status < 0) {
      addon.closeFd(fd);
      fail(-status);
      return;
    }
    callbacks.connected(new Socket({ fd, readable: true, writable: true }));
  });
  if (typeof connect === "number") {
    addon.closeFd(fd);
    const pending = setImmediate(fail, -connect);
    return { cancel: () => clearImmediate(pending) };
  }
  return {
    cancel: () => {
      if (settled) return;
      settled = true;
      connect.cancel();
      addon.closeFd(fd);
    },
  };
}
