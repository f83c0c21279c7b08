// SPDX-License-Identifier: Apache-2.0
/** Rules as data, and the phrases of nft that they are made of. */
import { ipFamily } from "../../util/ip.ts";
import type { Direction } from "../backend.ts";
import type { Reason } from "../decision.ts";
import { NftablesError } from "./nftables-error.ts";

export type Family = 4 | 6;

/** What the counters of rules tell apart: the reasons of a decision, and packets that conntrack calls invalid. */
export type CountedReason = Reason | "invalid";

export interface Count {
  readonly direction: Direction;
  readonly reason: CountedReason;
}

export interface Rule {
  /** Phrases, all of which must match. */
  readonly match: readonly string[];
  /** Counted before the statement takes effect; absent: not counted. */
  readonly count?: Count;
  /** "return", "goto NAME", "redirect to :15001". */
  readonly statement: string;
}

/**
 * The base chains of our table. Before those of iptables (-100), so that the address the workload asked for is the one to
 * see; raw ones before conntrack (-200).
 */
export const BASE_CHAINS = {
  "nat-output": { type: "nat", hook: "output", priority: -101 },
  "nat-prerouting": { type: "nat", hook: "prerouting", priority: -101 },
  "raw-output": { type: "filter", hook: "output", priority: -300 },
  "raw-prerouting": { type: "filter", hook: "prerouting", priority: -300 },
  "filter-prerouting": { type: "filter", hook: "prerouting", priority: -150 },
} as const;

export type BaseChain = keyof typeof BASE_CHAINS;

export const TCP = "meta l4proto tcp";
/**
 * Packets that do not begin a connection: one that is older than the rules is new to conntrack all the same
 * (nf_conntrack_tcp_loose), and would be led to a listener that knows nothing of it.
 */
export const NOT_BEGINNING = "tcp flags & (fin | syn | rst | ack) != syn";
/** What Istio's sidecars bind to when they hand on to the application. */
export const PASSTHROUGH: Readonly<Record<Family, string>> = { 4: "127.0.0.6", 6: "::6" };
export const LOCALHOST: Readonly<Record<Family, string>> = { 4: "127.0.0.1", 6: "::1" };
export const LOOPBACK: Readonly<Record<Family, string>> = { 4: "127.0.0.0/8", 6: "::1" };
export const LINK_LOCAL = "fe80::/10";
export const FAMILIES: readonly Family[] = [4, 6];

export function rule(match: readonly string[], statement: string, count?: Count): Rule {
  return { match, statement, ...(count && { count }) };
}

/** "ip daddr", "ip6 saddr". */
export function addressField(family: Family, field: "saddr" | "daddr"): string {
  return `${family === 4 ? "ip" : "ip6"} ${field}`;
}

/** `{ 1, 2 }`, or the one element by itself. */
export function anyOf(elements: readonly (string | number)[]): string {
  const unique = [...new Set(elements)];
  return unique.length === 1 ? String(unique[0]) : `{ ${unique.join(", ")} }`;
}

export function ports(protocol: "tcp" | "udp", list: readonly number[], operator: "" | "!=" = ""): string {
  return `${protocol} dport ${operator === "" ? "" : `${operator} `}${anyOf([...list].sort((a, b) => a - b))}`;
}

export function markMatch({ value, mask }: { readonly value: number; readonly mask: number }): string {
  const hex = (n: number): string => `0x${(n >>> 0).toString(16)}`;
  return mask >>> 0 === 0xffffffff ? `meta mark ${hex(value)}` : `meta mark & ${hex(mask)} == ${hex(value)}`;
}

/** Interfaces by name, so that one that is made anew is still meant; one phrase for all names, one for each pattern. */
export function interfaces(key: "iifname" | "oifname", patterns: readonly string[]): string[] {
  const quoted = (name: string): string => `"${quotable(name, "interface")}"`;
  const names = patterns.filter((pattern) => !pattern.endsWith("+"));
  return [
    ...(names.length > 0 ? [`${key} ${anyOf(names.map(quoted))}`] : []),
    ...patterns
      .filter((pattern) => pattern.endsWith("+"))
      .map((pattern) => `${key} ${quoted(pattern.slice(0, -1)).replace(/"$/, '*"')}`),
  ];
}

export function ofFamily<T extends string>(family: Family, addresses: readonly T[]): T[] {
  return addresses.filter((address) => ipFamily(address) === family);
}

export function excludedInterfaces(
  key: "iifname" | "oifname",
  patterns: readonly string[],
  direction: Direction,
): Rule[] {
  return interfaces(key, patterns).map((phrase) =>
    rule([phrase], "return", { direction, reason: "interface-excluded" }),
  );
}

/** What a workload that leaves IPv6 alone does with it. */
export function familyOff(ipv6: boolean | undefined, direction: Direction): Rule[] {
  return ipv6 === false ? [rule(["meta nfproto ipv6"], "return", { direction, reason: "family-off" })] : [];
}

/** Quoted strings end at the next quote, whatever stands before it; an asterisk at their end stands for any ending. */
export function quotable(text: string, what: string): string {
  if (!/["\n\\]|\*$/.test(text)) return text;
  throw new NftablesError("ERR_NFTABLES_UNSUPPORTED", `${what} ${JSON.stringify(text)}: nft takes no such name`);
}
