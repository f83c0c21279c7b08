// SPDX-License-Identifier: Apache-2.0
import type { Maps } from "../../bpf/generated/types.ts";
import { ownerFlag, workloadFlag } from "../../bpf/generated/types.ts";
import { ipFamily, prefixBits } from "../../util/ip.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import {
  type Cidr,
  type InboundSpec,
  type InterceptSpec,
  type OutboundSpec,
  type ProxyIdentity,
  RESOLVERS_PER_SOCKET,
  type SelfEntry,
  type SelfEntryOwners,
} from "../spec.ts";

type Workload = Maps["workloads"]["value"];
type PortKey = Maps["ports"]["key"];
type CidrKey = Maps["cidrs"]["key"];
type OwnerKey = Maps["owners"]["key"];

/** The hooks cannot do what the specification asks; the message names its field. */
export class EbpfUnsupportedError extends ShuntError<"ERR_EBPF_UNSUPPORTED"> {}

/**
 * The contents of the maps for one workload. Pure: everything that is only known on the machine (namespace cookie,
 * cgroup id, slot, the number of the policy) is filled in by `apply`.
 */
export interface EbpfPlan {
  readonly workload: Omit<Workload, "netns" | "policy" | "proxyCgroup">;
  readonly ports: readonly Omit<PortKey, "policy">[];
  /** `covers` false: an entry that takes its addresses out of a shorter prefix. */
  readonly cidrs: readonly CidrEntry[];
  /** Bits of enum owner_flag. */
  readonly owners: readonly { readonly key: Omit<OwnerKey, "policy">; readonly flags: number }[];
}

export interface CidrEntry {
  readonly key: Omit<CidrKey, "policy">;
  readonly covers: boolean;
}

/** Bits before the address in `struct cidr_key`: policy and kind. */
const KEY_BITS = 64;
const MAPPED_BITS = 96;
const NO_MARK = { value: 0, mask: 0 };

/** Throws an EbpfUnsupportedError for what the hooks cannot do. */
export function plan(spec: InterceptSpec): EbpfPlan {
  refuse(spec);
  const { outbound, inbound, proxy } = spec;
  const self = proxy.selfEntry;
  return {
    workload: row(spec),
    ports: [
      ...ports("outbound", "exclude", outbound?.excludePorts),
      ...ports("outbound", "include", outbound?.includePorts),
      ...ports("inbound", "exclude", inbound?.excludePorts),
      ...ports("inbound", "include", inbound?.includePorts),
      ...ports("outbound", "self-by-uid", self?.uids.ports.ports),
      ...ports("outbound", "self-by-gid", self?.gids.ports.ports),
    ],
    cidrs: [
      ...cidrs("outbound-exclude", outbound?.excludeCidrs),
      ...cidrs("outbound-include", outbound?.includeCidrs),
      ...cidrs("inbound-exclude", inbound?.excludeCidrs),
      ...cidrs("inbound-include", inbound?.includeCidrs),
      ...cidrs("dns-server", outbound?.dns.kind === "servers" ? outbound.dns.servers.map(asCidr) : []),
      ...cidrs("self-exclude", self?.excludeCidrs),
    ],
    owners: owners(spec),
  };
}

function refuse({ name, interfaces, dropInvalid }: InterceptSpec): void {
  const [reroute] = interfaces.reroute;
  const why =
    reroute !== undefined
      ? `interfaces.reroute: ${reroute}: what a machine behind the pod sends has no socket here, and only rules see packets`
      : interfaces.exclude.includes("lo")
        ? "interfaces.exclude: lo: connections over lo are told by their addresses, not by the interface"
        : dropInvalid
          ? "dropInvalid: only rules see the state that conntrack gives a packet"
          : undefined;
  if (why !== undefined) throw new EbpfUnsupportedError("ERR_EBPF_UNSUPPORTED", `${name}: ${why}`);
}

function row(spec: InterceptSpec): EbpfPlan["workload"] {
  const { outbound, inbound, proxy } = spec;
  const dns = outbound?.dns ?? { kind: "off" as const };
  const mark = proxy.mark ?? NO_MARK;
  const preserve = inbound?.preserveMark ?? NO_MARK;
  return {
    flags: flags(spec),
    proxyMark: mark.value,
    proxyMarkMask: mark.mask,
    preserveMark: preserve.value,
    preserveMarkMask: preserve.mask,
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
  if (outbound) bits |= outboundFlags(outbound);
  if (inbound) bits |= inboundFlags(inbound, proxy);
  if (spec.oneHop === true) bits |= workloadFlag.ONE_HOP;
  if (spec.ipv6 === false) bits |= workloadFlag.SKIP_V6;
  if (spec.interfaces.exclude.length > 0) bits |= workloadFlag.INTERFACES;
  return spec.trace ? bits | workloadFlag.TRACE : bits;
}

function outboundFlags(outbound: OutboundSpec): number {
  const { kind, groups } = outbound.ownerGroups;
  let bits: number = workloadFlag.OUTBOUND;
  if (outbound.includeCidrs === "all") bits |= workloadFlag.OUTBOUND_ALL;
  if (outbound.captureLoopback) bits |= workloadFlag.CAPTURE_LOOPBACK;
  if (outbound.captureLocal) bits |= workloadFlag.CAPTURE_LOCAL;
  if (outbound.captureLocalDns) bits |= workloadFlag.LOCAL_DNS;
  if (kind === "only") bits |= workloadFlag.OWNER_GROUPS_ONLY;
  else if (groups.length > 0) bits |= workloadFlag.OWNER_GROUPS_EXCEPT;
  return bits;
}

function inboundFlags(inbound: InboundSpec, { selfEntry }: ProxyIdentity): number {
  let bits: number = workloadFlag.INBOUND;
  if (inbound.includePorts === "all") bits |= workloadFlag.INBOUND_ALL_PORTS;
  if (inbound.includeCidrs === "all") bits |= workloadFlag.INBOUND_ALL_SOURCES;
  if (inbound.preserveMark) bits |= workloadFlag.CLIENT_SOURCE;
  // Where nothing is intercepted inbound there is no port to enter by.
  if (selfEntry) bits |= workloadFlag.SELF_ENTRY;
  if (selfEntry?.transparent) bits |= workloadFlag.SELF_TRANSPARENT;
  return bits;
}

function identityFlags(proxy: ProxyIdentity): number {
  let bits = proxy.external ? workloadFlag.EXTERNAL_PROXY : 0;
  if (proxy.mark !== undefined) bits |= workloadFlag.PROXY_MARK;
  if (proxy.uids.length > 0) bits |= workloadFlag.PROXY_UID;
  if (proxy.gids.length > 0) bits |= workloadFlag.PROXY_GID;
  if (proxy.cgroup !== undefined) bits |= workloadFlag.PROXY_CGROUP;
  return bits;
}

function owners({ outbound, proxy }: InterceptSpec): EbpfPlan["owners"] {
  const { uids, gids, selfEntry } = proxy;
  const users = new Map<number, number>();
  const groups = new Map<number, number>();
  const add = (to: Map<number, number>, id: number, flags: number): void => void to.set(id, (to.get(id) ?? 0) | flags);
  for (const uid of uids) add(users, uid, ownerFlag.PROXY | entryFlag(selfEntry, "uids", uid));
  for (const gid of gids) add(groups, gid, ownerFlag.PROXY | entryFlag(selfEntry, "gids", gid));
  for (const gid of outbound?.ownerGroups.groups ?? []) add(groups, gid, ownerFlag.GROUP);
  const entries = (kind: OwnerKey["kind"], flags: ReadonlyMap<number, number>) =>
    [...flags].map(([id, bits]) => ({ key: { kind, id }, flags: bits }));
  return [...entries("uid", users), ...entries("gid", groups)];
}

function entryFlag(self: SelfEntry | undefined, by: "uids" | "gids", id: number): number {
  const rule: SelfEntryOwners | undefined = self?.[by];
  if (!rule?.ids.includes(id)) return 0;
  return rule.ports.kind === "only" ? ownerFlag.ENTERS_ONLY : ownerFlag.ENTERS_EXCEPT;
}

function ports(
  direction: PortKey["direction"],
  action: PortKey["action"],
  list: "all" | readonly number[] = [],
): Omit<PortKey, "policy">[] {
  return list === "all" ? [] : list.map((port) => ({ direction, action, port }));
}

function cidrs(kind: CidrKey["kind"], list: "all" | readonly Cidr[] = []): CidrEntry[] {
  return list === "all" ? [] : cidrEntries(kind, list);
}

/** `covers`: whether a range is one of the set, or takes its addresses out of a wider one. */
export function cidrEntries(
  kind: CidrKey["kind"],
  list: readonly Cidr[],
  covers: (cidr: Cidr) => boolean = () => true,
): CidrEntry[] {
  const entries = list.map((cidr) => ({
    key: { prefixLength: KEY_BITS + prefixBits(cidr), kind, address: cidr.address },
    covers: covers(cidr),
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
