// SPDX-License-Identifier: Apache-2.0
/** Whether rules can be made here, tried in a fresh network namespace: never guessed from versions. */
import { findCgroup2 } from "../../util/mountinfo.ts";
import type { ProbeAnswer } from "../backend.ts";
import { TABLE_WORDS } from "./naming.ts";
import { canonicalTable, readTable } from "./nft.ts";

export interface NftablesProbe extends ProbeAnswer {
  /** Rules for the processes of one cgroup (`exec`). */
  readonly cgroupMatch: ProbeAnswer;
  /** Rules for DNS capture. */
  readonly dnsZones: ProbeAnswer;
}

const inTable = (...lines: string[]): string => `table ${TABLE_WORDS} {\n${lines.join("\n")}\n}\n`;

/** Everything that plans use: what a kernel or an nft lacks, it refuses here. */
const RULES = inTable(
  "counter probe { }",
  "set ranges4 { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.1 }; }",
  "set ranges6 { type ipv6_addr; flags interval; elements = { 2001:db8::/32 }; }",
  "chain to-proxy {",
  "meta l4proto tcp redirect to :1",
  "}",
  "chain workload {",
  "meta l4proto != { tcp, udp } return",
  "tcp flags & (fin | syn | rst | ack) != syn return",
  "meta mark & 0x1 == 0x1 counter name probe return",
  "meta skuid { 1, 2 } return",
  "meta skgid 1 return",
  "ip daddr @ranges4 return",
  "ip6 daddr @ranges6 return",
  'tcp dport { 1, 2 } goto to-proxy comment "shunt"',
  "}",
  "chain arrivals {",
  "fib daddr type != local return",
  "ip6 daddr fe80::/10 meta l4proto tcp reject with tcp reset",
  "}",
  "chain nat-output {",
  "type nat hook output priority -101; policy accept;",
  'oifname "lo" goto workload',
  "}",
  "chain nat-prerouting {",
  "type nat hook prerouting priority -101; policy accept;",
  'iifname "lo" goto arrivals',
  "}",
);

const ZONES = inTable(
  "chain raw-output {",
  "type filter hook output priority -300; policy accept;",
  "udp dport 53 ct zone set 1",
  "meta l4proto tcp notrack",
  "}",
);

const CGROUP = inTable(
  "chain nat-output {",
  "type nat hook output priority -101; policy accept;",
  'socket cgroupv2 level 1 "." meta l4proto tcp redirect to :1',
  "}",
);

/** Examines this machine and, when a path is given, one namespace of it. */
export async function probe(netnsPath?: string, signal?: AbortSignal): Promise<NftablesProbe> {
  const rules = await attempt(() => canonicalTable(RULES, signal), signal);
  if (!rules.ok) return { ...rules, cgroupMatch: rules, dnsZones: rules };
  const cgroupMatch = findCgroup2()
    ? await attempt(() => canonicalTable(CGROUP, signal), signal)
    : { ok: false, reason: "no cgroup2 file system is mounted" };
  const dnsZones = await attempt(() => canonicalTable(ZONES, signal), signal);
  const there = netnsPath === undefined ? rules : await attempt(() => readTable({ netnsPath }, signal), signal);
  return { ...there, cgroupMatch, dnsZones };
}

async function attempt(action: () => Promise<unknown>, signal?: AbortSignal): Promise<ProbeAnswer> {
  try {
    await action();
    return { ok: true };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
