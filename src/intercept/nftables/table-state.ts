// SPDX-License-Identifier: Apache-2.0
/** What a namespace has of ours, as `nft -j list table` tells it (libnftables-json(5)). Pure. */
import { nameOf, parseComment, prefixOf } from "./naming.ts";

export interface ListedRule {
  readonly handle: number;
  readonly comment: string | undefined;
  /** The chain that it leads to. */
  readonly target: string | undefined;
  /** Everything of it but the handle, as JSON. */
  readonly text: string;
}

export interface ListedChain {
  /** Type, hook, priority and policy, as JSON; undefined for a chain that only rules lead to. */
  readonly base: string | undefined;
  readonly rules: readonly ListedRule[];
}

export interface TableState {
  readonly chains: ReadonlyMap<string, ListedChain>;
  /** Everything of a set but its handle, as JSON. */
  readonly sets: ReadonlyMap<string, string>;
  /** Packets by name. */
  readonly counters: ReadonlyMap<string, number>;
}

type Fields = Readonly<Record<string, unknown>>;

/** Throws a SyntaxError for what is no JSON. */
export function parseListing(json: string): TableState {
  const chains = new Map<string, { base: string | undefined; rules: ListedRule[] }>();
  const sets = new Map<string, string>();
  const counters = new Map<string, number>();
  const { nftables: entries } = JSON.parse(json) as { readonly nftables: readonly Readonly<Record<string, Fields>>[] };
  for (const { chain, set, counter, rule } of entries) {
    if (chain) chains.set(String(chain["name"]), { base: baseOf(chain), rules: [] });
    if (set) sets.set(String(set["name"]), JSON.stringify([set["type"], set["flags"], sortedElements(set["elem"])]));
    if (counter) counters.set(String(counter["name"]), Number(counter["packets"]));
    // A listing has chains before their rules.
    if (rule) chains.get(String(rule["chain"]))?.rules.push(listedRule(rule));
  }
  return { chains, sets, counters };
}

/** The workloads that have something in the table, in order of name. */
export function workloadsIn(state: TableState): string[] {
  const commentsOf = (chain: string) => state.chains.get(chain)?.rules.map(({ comment }) => comment) ?? [];
  const names = [...state.chains].flatMap(([chain, { rules }]) =>
    chain.endsWith("-name") ? [] : rules.map(({ comment }) => parseComment(comment)?.owner),
  );
  const owners = new Set(names.filter((owner) => owner !== undefined));
  return [...new Set([...owners].map((owner) => nameOf(owner, commentsOf)))].sort();
}

/** Whether a rule of a base chain is of the workload: it leads there, or says so. */
export function belongsTo(rule: ListedRule, prefix: string, owner: string): boolean {
  const target = rule.target === undefined ? undefined : prefixOf(rule.target);
  return target === undefined ? parseComment(rule.comment)?.owner === owner : target === prefix;
}

function baseOf({ type, hook, prio, policy }: Fields): string | undefined {
  return hook === undefined ? undefined : JSON.stringify({ type, hook, prio, policy });
}

function sortedElements(elements: unknown): string[] {
  return Array.isArray(elements) ? elements.map((element) => JSON.stringify(element)).sort() : [];
}

function listedRule({ handle, comment, expr }: Fields): ListedRule {
  const statements = (Array.isArray(expr) ? expr : []) as readonly Readonly<Record<string, Fields | null>>[];
  const verdict = statements.map((statement) => statement["goto"] ?? statement["jump"]).find((found) => found != null);
  return {
    handle: Number(handle),
    comment: typeof comment === "string" ? comment : undefined,
    target: verdict === undefined ? undefined : String(verdict["target"]),
    text: JSON.stringify({ expr, comment }),
  };
}
