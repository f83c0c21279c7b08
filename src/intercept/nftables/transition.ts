// SPDX-License-Identifier: Apache-2.0
/** From what a namespace holds of ours to what it should hold, as one transaction of nft. Pure. */
import type { Dispatch } from "./chain.ts";
import { ownerOf, parseComment, prefixOf, rankValue, TABLE_WORDS, workloadPrefix } from "./naming.ts";
import { NftablesError } from "./nftables-error.ts";
import type { NftablesPlan } from "./plan.ts";
import { countersOf, render, renderDispatch, renderObjects, sortedByRank } from "./render.ts";
import { BASE_CHAINS, type BaseChain } from "./rule.ts";
import { belongsTo, type ListedChain, type ListedRule, type TableState, workloadsIn } from "./table-state.ts";

/**
 * Puts the plan in the place of what the workload has; without a plan the workload ends. What is in our table and no
 * workload's goes as well: an earlier version has left it. Empty when there is nothing to do. Throws an NftablesError
 * when that version's base chains are others and workloads still need them.
 */
export function renderTransition(state: TableState | undefined, name: string, plan?: NftablesPlan): string {
  if (!state) return plan ? render(plan) : "";
  const prefix = workloadPrefix(name);
  const others = workloadsIn(state).filter((other) => other !== name);
  if (others.length === 0 && (!plan || isForeign(state))) {
    return `delete table ${TABLE_WORDS}\n${plan ? render(plan) : ""}`;
  }
  if (plan) refuseForeign(state, others);
  const removal = removalOf(state, prefix, ownerOf(name));
  const kept = new Set(plan ? countersOf(plan) : []);
  const gone = [...state.counters.keys()].filter((counter) => prefixOf(counter) === prefix && !kept.has(counter));
  const wanted = new Set<string>(plan?.dispatch.map(({ base }) => base));
  const empty = [...removal.remaining].filter(([base, rules]) => rules.length === 0 && !wanted.has(base));
  return [
    ...removal.commands,
    ...gone.map((counter) => `delete counter ${TABLE_WORDS} ${counter}\n`),
    ...(plan ? [renderObjects(plan, new Set(state.counters.keys())), ...insertions(plan, removal.remaining)] : []),
    ...empty.map(([base]) => `delete chain ${TABLE_WORDS} ${base}\n`),
  ].join("");
}

interface Removal {
  readonly commands: readonly string[];
  /** What stays, by base chain. */
  readonly remaining: ReadonlyMap<string, readonly ListedRule[]>;
}

function removalOf(state: TableState, prefix: string, owner: string): Removal {
  const bases = [...state.chains].filter(([, { base }]) => base !== undefined);
  const goes = (rule: ListedRule): boolean =>
    belongsTo(rule, prefix, owner) || parseComment(rule.comment)?.rank === undefined;
  // What has no prefix and is no base chain was made by nobody who is known here.
  const chains = [...state.chains]
    .filter(([name, { base }]) => base === undefined && (prefixOf(name) ?? prefix) === prefix)
    .map(([name]) => name);
  const sets = [...state.sets.keys()].filter((name) => (prefixOf(name) ?? prefix) === prefix);
  return {
    commands: [
      ...bases.flatMap(([name, { rules }]) =>
        rules.filter(goes).map(({ handle }) => `delete rule ${TABLE_WORDS} ${name} handle ${handle}\n`),
      ),
      ...chains.map((name) => `flush chain ${TABLE_WORDS} ${name}\n`),
      ...chains.map((name) => `delete chain ${TABLE_WORDS} ${name}\n`),
      ...sets.map((name) => `delete set ${TABLE_WORDS} ${name}\n`),
    ],
    remaining: new Map(bases.map(([name, { rules }]) => [name, rules.filter((rule) => !goes(rule))])),
  };
}

/** The deeper a cgroup, the earlier its rule; the whole namespace comes last. */
function insertions(plan: NftablesPlan, remaining: Removal["remaining"]): string[] {
  return sortedByRank(plan.dispatch).map((entry) => {
    const next = remaining.get(entry.base)?.find((rule) => comesBefore(entry, rule));
    const where = next
      ? `insert rule ${TABLE_WORDS} ${entry.base} handle ${next.handle}`
      : `add rule ${TABLE_WORDS} ${entry.base}`;
    return `${where} ${renderDispatch(plan, entry)}\n`;
  });
}

function comesBefore({ rank }: Dispatch, rule: ListedRule): boolean {
  const other = parseComment(rule.comment)?.rank;
  return other !== undefined && rankValue(rank) < rankValue(other);
}

/** A base chain of ours is not as this version makes it, or is one that this version does not make. */
function isForeign(state: TableState): boolean {
  return [...state.chains].some(([name, chain]) => chain.base !== undefined && !isOurs(name, chain));
}

function isOurs(name: string, { base }: ListedChain): boolean {
  if (!Object.hasOwn(BASE_CHAINS, name)) return false;
  const { type, hook, priority } = BASE_CHAINS[name as BaseChain];
  return base === JSON.stringify({ type, hook, prio: priority, policy: "accept" });
}

function refuseForeign(state: TableState, others: readonly string[]): void {
  if (!isForeign(state)) return;
  throw new NftablesError(
    "ERR_NFTABLES_FOREIGN_LAYOUT",
    `table ${TABLE_WORDS} was made by another version of Shunt, and has rules of ${others.join(", ")}: end those first`,
  );
}
