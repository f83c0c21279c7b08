// SPDX-License-Identifier: Apache-2.0
/**
 * How rules tell resolvers apart: nothing says where a datagram was going before it was redirected, but which port it was
 * redirected to is known. eBPF gives out the same ports socket by socket.
 */
import { canonicalIp, ipFamily } from "../util/ip.ts";
import type { DnsCapture } from "./spec.ts";

type ActiveCapture = Exclude<DnsCapture, { kind: "off" }>;

/** Every port of the forwarder that UDP queries can be led to by rules. */
export function dnsPorts({ kind, port, morePorts = [] }: ActiveCapture): readonly number[] {
  return kind === "all" ? [port] : [port, ...morePorts];
}

/**
 * The resolvers of one family by the port that takes UDP queries to them: each has its own as far as they go, what is left
 * shares the first. Both families can use a port, since each has a socket there.
 */
export function resolversByPort(
  dns: Extract<DnsCapture, { kind: "servers" }>,
  family: 4 | 6,
): ReadonlyMap<number, readonly string[]> {
  const ports = dnsPorts(dns);
  const servers = [...new Set(dns.servers.map(canonicalIp))].filter((server) => ipFamily(server) === family);
  const byPort = new Map<number, string[]>();
  for (const [i, server] of servers.entries()) {
    const port = ports[i] ?? dns.port;
    byPort.set(port, [...(byPort.get(port) ?? []), server]);
  }
  return byPort;
}

/** The one resolver that queries which came to a port were sent to; undefined where it could be several. */
export function resolverAt(dns: DnsCapture, family: 4 | 6, port: number): string | undefined {
  if (dns.kind !== "servers") return undefined;
  const [server, ...others] = resolversByPort(dns, family).get(port) ?? [];
  return others.length === 0 ? server : undefined;
}

/** Where rules lead a UDP query to that resolver. */
export function portFor(dns: ActiveCapture, address: string): number {
  if (dns.kind === "all") return dns.port;
  const byPort = resolversByPort(dns, ipFamily(address));
  const found = [...byPort].find(([, servers]) => servers.includes(canonicalIp(address)));
  return found?.[0] ?? dns.port;
}
