// SPDX-License-Identifier: Apache-2.0
/** Ranges as interval sets: a lookup costs the same for one as for a thousand. */
import { isIP } from "node:net";
import { parseCidr } from "../../util/ip.ts";
import type { Cidr } from "../spec.ts";
import { addressField, type Family } from "./rule.ts";

export interface AddressSet {
  readonly name: string;
  readonly type: "ipv4_addr" | "ipv6_addr";
  readonly elements: readonly string[];
}

/** Ranges of one family: a set of the table, or, for all addresses, no set at all. */
export interface AddressMatch {
  readonly family: Family;
  readonly set?: AddressSet;
  /** The phrase that matches them. */
  readonly phrase: (field: "saddr" | "daddr") => string;
}

/** Undefined when there is none of that family. */
export function matchRanges(name: string, family: Family, cidrs: readonly Cidr[]): AddressMatch | undefined {
  const own = withoutContained(cidrs.filter((cidr) => isIP(cidr.address) === family));
  if (own.length === 0) return undefined;
  // A range of all addresses has no end that an interval could have.
  if (own.some(({ prefixLength }) => prefixLength === 0)) {
    return { family, phrase: () => `meta nfproto ${family === 4 ? "ipv4" : "ipv6"}` };
  }
  const bits = family === 4 ? 32 : 128;
  const set: AddressSet = {
    name: `${name}${family}`,
    type: family === 4 ? "ipv4_addr" : "ipv6_addr",
    elements: own.map(({ address, prefixLength }) => (prefixLength === bits ? address : `${address}/${prefixLength}`)),
  };
  return { family, set, phrase: (field) => `${addressField(family, field)} @${set.name}` };
}

/**
 * Two ranges are either disjoint or one lies in the other, and nft refuses the second ("conflicting intervals"); its own
 * `auto-merge` differs from version to version.
 */
function withoutContained(cidrs: readonly Cidr[]): Cidr[] {
  const kept = new Map<number, Set<string>>();
  for (const { address, prefixLength } of [...cidrs].sort((a, b) => a.prefixLength - b.prefixLength)) {
    const covered = [...kept].some(([length, networks]) => networks.has(networkOf(address, length)));
    if (covered) continue;
    kept.set(prefixLength, (kept.get(prefixLength) ?? new Set()).add(networkOf(address, prefixLength)));
  }
  return [...kept].flatMap(([prefixLength, networks]) => [...networks].map((address) => ({ address, prefixLength })));
}

function networkOf(address: string, prefixLength: number): string {
  return parseCidr(`${address}/${prefixLength}`).address;
}
