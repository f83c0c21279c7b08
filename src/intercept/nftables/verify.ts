// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../backend.ts";
import { ownerOf, parseComment, prefixOf, rankValue, TABLE_WORDS, workloadPrefix } from "./naming.ts";
import { belongsTo, type ListedChain, type ListedRule, type TableState } from "./table-state.ts";

/**
 * How one workload's part of the table differs from `expected`, which is the table of a namespace that has nothing else,
 * listed by the same nft: each version has its own way to write a rule. Chains, sets and their elements have no order;
 * the rules of a chain do.
 */
export function driftOf(name: string, expected: TableState, actual: TableState | undefined): Drift[] {
  const prefix = workloadPrefix(name);
  const owner = ownerOf(name);
  const have = actual ?? { chains: new Map(), sets: new Map(), counters: new Map() };
  const isOwn = (object: string): boolean => prefixOf(object) === prefix;
  const drifts: (Drift | undefined)[] = [];
  for (const chain of union(expected.chains, have.chains)) {
    const [want, is] = [expected.chains.get(chain), have.chains.get(chain)];
    if (want?.base !== undefined || is?.base !== undefined) {
      drifts.push(drift(chain, baseLines(want, prefix, owner), baseLines(is, prefix, owner)) ?? disorder(chain, is));
    } else if (isOwn(chain)) {
      drifts.push(drift(chain, want?.rules.map(textOf) ?? [], is?.rules.map(textOf) ?? []));
    }
  }
  for (const set of union(expected.sets, have.sets).filter(isOwn)) {
    drifts.push(drift(set, lines(expected.sets.get(set)), lines(have.sets.get(set))));
  }
  for (const counter of union(expected.counters, have.counters).filter(isOwn)) {
    drifts.push(drift(counter, presence(expected, counter), presence(have, counter)));
  }
  return drifts.filter((found) => found !== undefined);
}

/** Nothing where the workload has no rule: the chain is others' then. */
function baseLines(chain: ListedChain | undefined, prefix: string, owner: string): string[] {
  const rules = chain?.rules.filter((rule) => belongsTo(rule, prefix, owner)).map(textOf) ?? [];
  return rules.length === 0 ? [] : [...lines(chain?.base), ...rules];
}

/** The innermost cgroup decides only while its rule comes first. */
function disorder(name: string, chain: ListedChain | undefined): Drift | undefined {
  const ranked = chain?.rules.flatMap((rule) => {
    const rank = parseComment(rule.comment)?.rank;
    return rank ? [{ rule, value: rankValue(rank) }] : [];
  });
  const sorted = ranked?.toSorted((a, b) => a.value - b.value);
  const texts = (of: typeof ranked): string[] => of?.map(({ rule }) => textOf(rule)) ?? [];
  return drift(name, texts(sorted), texts(ranked));
}

function drift(chain: string, expected: readonly string[], actual: readonly string[]): Drift | undefined {
  if (expected.join("\n") === actual.join("\n")) return undefined;
  const kind = actual.length === 0 ? "missing" : expected.length === 0 ? "unexpected" : "changed";
  return { table: TABLE_WORDS, chain, kind, expected, actual };
}

function presence({ counters }: TableState, name: string): string[] {
  return counters.has(name) ? [`counter ${name}`] : [];
}

function union(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].sort();
}

function lines(text: string | undefined): string[] {
  return text === undefined ? [] : [text];
}

function textOf({ text }: ListedRule): string {
  return text;
}
