// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { ipFamily } from "../../util/ip.ts";
import type { Cidr } from "../spec.ts";

export type Family = 4 | 6;
/** In the order they are written: what only prepares comes before what redirects. */
export const TABLES = ["raw", "mangle", "nat", "filter"] as const;
export type Table = (typeof TABLES)[number];

/** One rule as data: the words of its matches, then where it leads. The owner's comment is added when rendered. */
export interface Rule {
  readonly match: readonly string[];
  /** "-j RETURN", "-j REDIRECT --to-ports 15001", "-g CHAIN". */
  readonly target: readonly string[];
}

export const RETURN: readonly string[] = ["-j", "RETURN"];
export const DROP: readonly string[] = ["-j", "DROP"];

/**
 * A connection that is older than the rules is new to conntrack all the same (nf_conntrack_tcp_loose), and its next packet
 * would be led to a listener that knows nothing of it.
 */
export const BEGINNING: readonly string[] = ["-p", "tcp", "--syn"];

export function jump(chain: string): readonly string[] {
  return ["-j", chain];
}

/** As a jump, but a RETURN in `chain` returns from the chain that holds this rule too. */
export function goTo(chain: string): readonly string[] {
  return ["-g", chain];
}

export function rule(match: readonly string[], target: readonly string[]): Rule {
  return { match, target };
}

export function loopbackRange(family: Family): string {
  return family === 4 ? "127.0.0.0/8" : "::1/128";
}

export function localhost(family: Family): string {
  return family === 4 ? "127.0.0.1/32" : "::1/128";
}

/** Source of a proxy's pass-through connections to its own application, as in Istio. */
export function passthroughSource(family: Family): string {
  return family === 4 ? "127.0.0.6/32" : "::6/128";
}

export function cidrsOf(family: Family, cidrs: readonly Cidr[]): string[] {
  return cidrs.filter((c) => isIP(c.address) === family).map((c) => `${c.address}/${c.prefixLength}`);
}

export function hostsOf(family: Family, addresses: readonly string[]): string[] {
  return addresses.filter((a) => ipFamily(a) === family).map((a) => `${a}/${family === 4 ? 32 : 128}`);
}

/** xt_multiport holds 15 ports (XT_MULTI_PORTS). */
const MULTIPORT_MAX = 15;

/** Match words for "destination port is one of these", one entry for each rule needed. */
export function portMatches(protocol: "tcp" | "udp", ports: readonly number[]): (readonly string[])[] {
  const sorted = [...new Set(ports)].sort((a, b) => a - b);
  if (sorted.length === 1) return [["-p", protocol, "--dport", String(sorted[0])]];
  const matches: string[][] = [];
  for (let i = 0; i < sorted.length; i += MULTIPORT_MAX) {
    const group = sorted.slice(i, i + MULTIPORT_MAX);
    matches.push(["-p", protocol, "-m", "multiport", "--dports", group.join(",")]);
  }
  return matches;
}

/** "This chain is done with packets that match", one rule for each match. */
export function returns(matches: readonly (readonly string[])[]): Rule[] {
  return matches.map((match) => rule(match, RETURN));
}
