// SPDX-License-Identifier: Apache-2.0
import type { Maps } from "../../bpf/generated/types.ts";
import { workloadFlag } from "../../bpf/generated/types.ts";
import { ipFamily, prefixBits } from "../../util/ip.ts";
import { type Cidr, type InterceptSpec, type ProxyIdentity, RESOLVERS_PER_SOCKET } from "../spec.ts";

type Workload = Maps["workloads"]["value"];
type PortKey = Maps["ports"]["key"];
type CidrKey = Maps["cidrs"]["key"];

/**
 * The contents of the maps for one workload. Pure: everything that is only known on the machine (namespace cookie,
 * cgroup id, slot, the number of the policy) is filled in by `apply`.
 */
export interface EbpfPlan {
  readonly workload: Omit<Workload, "netns" | "policy" | "proxyCgroup">;
  readonly ports: readonly Omit<PortKey, "policy">[];
  /** `covers` false: an entry that takes its addresses out of a shorter prefix. */
  readonly cidrs: readonly { readonly key: Omit<CidrKey, "policy">; readonly covers: boolean }[];
}

/** Bits before the address in `struct cidr_key`: policy and kind. */
const KEY_BITS = 64;
const MAPPED_BITS = 96;

export function plan(spec: InterceptSpec): EbpfPlan {
  const { outbound, inbound } = spec;
  return {
    workload: row(spec),
    ports: [
      ...ports("outbound", "exclude", outbound?.excludePorts),
      ...ports("outbound", "include", outbound?.includePorts),
      ...ports("inbound", "exclude", inbound?.excludePorts),
      ...ports("inbound", "include", inbound?.includePorts),
    ],
    cidrs: [
      ...cidrs("outbound-exclude", outbound?.excludeCidrs),
      ...cidrs("outbound-include", outbound?.includeCidrs),
      ...cidrs("inbound-exclude", inbound?.excludeCidrs),
      ...cidrs("inbound-include", inbound?.includeCidrs),
      ...cidrs("dns-server", outbound?.dns.kind === "servers" ? outbound.dns.servers.map(asCidr) : []),
    ],
  };
}

function row(spec: InterceptSpec): EbpfPlan["workload"] {
  const { outbound, inbound, proxy } = spec;
  const dns = outbound?.dns ?? { kind: "off" as const };
  return {
    flags: flags(spec),
    proxyMark: proxy.mark?.value ?? 0,
    proxyMarkMask: proxy.mark?.mask ?? 0,
    proxyUid: proxy.uids[0] ?? 0,
    proxyGid: proxy.gids[0] ?? 0,
    outboundPort: outbound?.port ?? 0,
    inboundPort: inbound?.port ?? 0,
    dnsPorts: dns.kind === "off" ? dnsPorts() : dnsPorts(dns.port, ...(dns.morePorts ?? [])),
    failMode: spec.failMode,
    dnsCapture: dns.kind,
  };
}

/** As many as the row has; 0 where there is none. */
export function dnsPorts(...ports: readonly number[]): number[] {
  return Array.from({ length: RESOLVERS_PER_SOCKET }, (_, index) => ports[index] ?? 0);
}

function flags(spec: InterceptSpec): number {
  const { outbound, inbound, proxy } = spec;
  let bits = identityFlags(proxy);
  if (outbound) {
    bits |= workloadFlag.OUTBOUND;
    if (outbound.includeCidrs === "all") bits |= workloadFlag.OUTBOUND_ALL;
    if (outbound.captureLoopback) bits |= workloadFlag.CAPTURE_LOOPBACK;
    if (outbound.captureLocal) bits |= workloadFlag.CAPTURE_LOCAL;
  }
  if (inbound) {
    bits |= workloadFlag.INBOUND;
    if (inbound.includePorts === "all") bits |= workloadFlag.INBOUND_ALL_PORTS;
    if (inbound.includeCidrs === "all") bits |= workloadFlag.INBOUND_ALL_SOURCES;
  }
  return spec.trace ? bits | workloadFlag.TRACE : bits;
}

function identityFlags(proxy: ProxyIdentity): number {
  let bits = proxy.external ? workloadFlag.EXTERNAL_PROXY : 0;
  if (proxy.mark !== undefined) bits |= workloadFlag.PROXY_MARK;
  if (proxy.uids.length > 0) bits |= workloadFlag.PROXY_UID;
  if (proxy.gids.length > 0) bits |= workloadFlag.PROXY_GID;
  if (proxy.cgroup !== undefined) bits |= workloadFlag.PROXY_CGROUP;
  return bits;
}

function ports(
  direction: PortKey["direction"],
  action: PortKey["action"],
  list: "all" | readonly number[] = [],
): Omit<PortKey, "policy">[] {
  return list === "all" ? [] : list.map((port) => ({ direction, action, port }));
}

function cidrs(kind: CidrKey["kind"], list: "all" | readonly Cidr[] = []): EbpfPlan["cidrs"] {
  if (list === "all") return [];
  const entries = list.map((cidr) => ({
    key: { prefixLength: KEY_BITS + prefixBits(cidr), kind, address: cidr.address },
    covers: true,
  }));
  // ::/0 and its like are prefixes of the v4-mapped addresses as well, but mean IPv6 only.
  const reachesMapped = list.some((c) => ipFamily(c.address) === 6 && prefixBits(c) < MAPPED_BITS);
  const hasAllV4 = list.some((c) => ipFamily(c.address) === 4 && c.prefixLength === 0);
  if (reachesMapped && !hasAllV4) {
    entries.push({ key: { prefixLength: KEY_BITS + MAPPED_BITS, kind, address: "0.0.0.0" }, covers: false });
  }
  return entries;
}

function asCidr(address: string): Cidr {
  return { address, prefixLength: ipFamily(address) === 4 ? 32 : 128 };
}
