// SPDX-License-Identifier: Apache-2.0
// Hot: a lookup runs for every accepted connection.
import type { FlowKey, Original } from "../bpf/generated/types.ts";
import type { NativeAddon, SocketAddress } from "../native/addon.ts";
import { loadAddon } from "../native/load-addon.ts";
import { mapFromFd } from "./map-from-fd.ts";

/** Where the answer comes from: plain data, so that it can be sent to a worker. */
export type OriginalDestinationSource =
  /**
   * The map `originals`, filled by sockops, and `dgram_origs`, filled by the connect and sendmsg programs. The fds stay
   * the sender's. `netnsCookie` in decimal.
   */
  | {
      readonly kind: "ebpf-map";
      readonly originalsFd: number;
      readonly datagramsFd: number;
      /** The map `hops`: of connections that the proxy makes. */
      readonly hopsFd: number;
      readonly netnsCookie: string;
    }
  /**
   * SO_ORIGINAL_DST or its IPv6 twin: conntrack remembers what a redirect rule changed. `interception` tells whose rules;
   * iptables' when absent.
   */
  | {
      readonly kind: "conntrack";
      readonly interception?: "iptables" | "nftables";
      /** Says nothing of a connection that no rule changed: another source knows it. */
      readonly changedOnly?: true;
    }
  /** The accepted socket's own address: sk_lookup and TPROXY do not change it. */
  | { readonly kind: "local-address"; readonly interception?: "ebpf" | "tproxy" };

interface Accepted {
  readonly fd: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

/** Fits the proxy's OriginalDestinationLookup. Disposing of it lets go of the map. */
export interface OriginalDestinationLookup extends Disposable {
  (connection: Accepted): (SocketAddress & { readonly interception: string }) | undefined;
}

/** How connections of this source come to the proxy, as records name it. */
export function interceptionOf(source: OriginalDestinationSource): "ebpf" | "iptables" | "tproxy" | "nftables" {
  if (source.kind === "ebpf-map") return "ebpf";
  return source.interception ?? (source.kind === "conntrack" ? "iptables" : "ebpf");
}

export function createOriginalDestinationLookup(source: OriginalDestinationSource): OriginalDestinationLookup {
  switch (source.kind) {
    case "ebpf-map":
      return fromConnections(source.originalsFd, BigInt(source.netnsCookie));
    case "conntrack":
      return withoutHandle(fromConntrack(loadAddon(), interceptionOf(source), source.changedOnly));
    case "local-address":
      return fromSocket(interceptionOf(source));
  }
}

/** For datagrams: `local` is where one arrived. Undefined where the source knows connections alone. */
export function createDatagramLookup(source: OriginalDestinationSource): OriginalDestinationLookup | undefined {
  return source.kind === "ebpf-map" ? fromDatagrams(source.datagramsFd, BigInt(source.netnsCookie)) : undefined;
}

function fromSocket(interception: string): OriginalDestinationLookup {
  return withoutHandle(({ local }) => ({ ...local, interception }));
}

function fromConnections(fd: number, netns: bigint): OriginalDestinationLookup {
  const map = mapFromFd("originals", fd);
  // Taken out, because the same ports can come again and nothing else would remove it.
  return Object.assign((accepted: Accepted) => destinationOf(map.take(flowKey(netns, accepted))), {
    [Symbol.dispose]: () => map.close(),
  });
}

function fromDatagrams(fd: number, netns: bigint): OriginalDestinationLookup {
  const map = mapFromFd("dgram_origs", fd);
  // The entry stays: one UDP socket sends several queries.
  return Object.assign((arrived: Accepted) => destinationOf(map.get(flowKey(netns, arrived))), {
    [Symbol.dispose]: () => map.close(),
  });
}

function flowKey(netns: bigint, { local, remote }: Accepted): FlowKey {
  return { netns, remote: remote.address, local: local.address, remotePort: remote.port, localPort: local.port };
}

function destinationOf(found: Original | undefined): ReturnType<OriginalDestinationLookup> {
  return found && { address: found.address, port: found.port, interception: "ebpf" };
}

function fromConntrack(addon: NativeAddon, interception: string, changedOnly = false) {
  return ({ fd, local }: Accepted) => {
    const found = addon.originalDestination(fd, local.address.includes(":") ? 6 : 4);
    // ENOENT: no rule changed this connection, the client meant the proxy itself.
    if (typeof found === "number") return undefined;
    if (changedOnly && found.port === local.port && found.address === local.address) return undefined;
    return { ...found, interception };
  };
}

function withoutHandle(
  lookup: (connection: Accepted) => ReturnType<OriginalDestinationLookup>,
): OriginalDestinationLookup {
  return Object.assign(lookup, { [Symbol.dispose]: () => {} });
}
