// SPDX-License-Identifier: Apache-2.0
/** Istio's nftables transaction as data. All tables are of the family inet. */

export interface NftChain {
  readonly name: string;
  /** Absent: a chain that is only jumped to. */
  readonly base?: { readonly type: "filter" | "nat" | "route"; readonly hook: string; readonly priority: number };
}

export interface NftRule {
  readonly chain: string;
  /** "insert … index N"; absent: added at the end. */
  readonly index?: number;
  /** The expression, as printed. */
  readonly text: string;
}

export interface NftTable {
  readonly name: string;
  readonly chains: readonly NftChain[];
  readonly rules: readonly NftRule[];
}

export interface NftProgram {
  readonly tables: readonly NftTable[];
}

/** By their names in nft(8). */
const PRIORITY = { raw: -300, mangle: -150, dstnat: -100, srcnat: 100 } as const;

export type NftTableKind = "nat" | "mangle" | "raw";

/** The base chains of a table as both of Istio's generators make them. */
export function baseChains(kind: NftTableKind): readonly NftChain[] {
  // nat output too, as iptables has it.
  const priority = PRIORITY[kind === "nat" ? "dstnat" : kind];
  const type = kind === "nat" ? "nat" : "filter";
  return [
    { name: "prerouting", base: { type, hook: "prerouting", priority } },
    // A mark set on the way out counts for routing only in a chain of this type.
    { name: "output", base: { type: kind === "mangle" ? "route" : type, hook: "output", priority } },
  ];
}

export function postroutingChain(): NftChain {
  return { name: "postrouting", base: { type: "nat", hook: "postrouting", priority: PRIORITY.srcnat } };
}

/** A table of those `chains` that hold rules or are jumped to; undefined without rules. */
export function nftTable(name: string, chains: readonly NftChain[], rules: readonly NftRule[]): NftTable | undefined {
  if (rules.length === 0) return undefined;
  const needed = new Set(rules.flatMap((rule) => [rule.chain, ...jumpOf(rule)]));
  return { name, chains: chains.filter((chain) => needed.has(chain.name)), rules: withValidIndexes(rules) };
}

/**
 * Leaves out the jumps to chains without rules, which do nothing and, where the chain is not made either, have the
 * kernel refuse the whole transaction.
 */
export function withoutIdleJumps(rules: readonly NftRule[]): NftRule[] {
  const filled = new Set(rules.map((rule) => rule.chain));
  return rules.filter((rule) => jumpOf(rule).every((chain) => filled.has(chain)));
}

/** nft refuses an index that the chain does not reach: such a rule is added at the end, as in Istio. */
function withValidIndexes(rules: readonly NftRule[]): NftRule[] {
  const lengths = new Map<string, number>();
  return rules.map(({ chain, index, text }) => {
    const length = lengths.get(chain) ?? 0;
    lengths.set(chain, length + 1);
    return index === undefined || index >= length ? { chain, text } : { chain, index, text };
  });
}

/**
 * The same rules in the order they end up in, with no index. To be loaded over tables that exist: there nft counts the
 * rules that the transaction itself has flushed, and an index leads elsewhere (seen with nft 1.0.6).
 */
export function inFinalOrder(program: NftProgram): NftProgram {
  return { tables: program.tables.map((table) => ({ ...table, rules: placed(table.rules) })) };
}

function placed(rules: readonly NftRule[]): NftRule[] {
  const chains = new Map<string, NftRule[]>();
  for (const { chain, index, text } of rules) {
    const before = chains.get(chain) ?? [];
    before.splice(index ?? before.length, 0, { chain, text });
    chains.set(chain, before);
  }
  return [...chains.values()].flat();
}

function jumpOf(rule: NftRule): string[] {
  const target = / ?\bjump (\S+)$/.exec(rule.text)?.[1];
  return target === undefined ? [] : [target];
}
