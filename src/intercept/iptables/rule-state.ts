// SPDX-License-Identifier: Apache-2.0
/** What a namespace holds of ours, in the words of iptables-save, and what it should hold. Pure. */
import { cgroupPathIn } from "./cgroup-path.ts";
import type { TablePlan } from "./chain-plan.ts";
import { CHAIN_PREFIX, dispatchChain, HOOKS, type Hook, isDispatchChain, ownerOf, shortId } from "./naming.ts";
import type { IptablesPlan } from "./plan.ts";
import type { Family } from "./rule.ts";
import { renderRule } from "./rule-text.ts";

export interface OwnTable {
  /** Chain name → its "-A" lines in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** "-A" lines of built-in chains that lead to one of ours. */
  readonly jumps: readonly string[];
}

/** By table name. Rules of others are never in here, so they can't be touched. */
export type OwnRules = ReadonlyMap<string, OwnTable>;

export function emptyRules(): OwnRules {
  return new Map();
}

/** Reads the output of iptables-save. */
export function parseSave(text: string): OwnRules {
  const tables = new Map<string, { chains: Map<string, string[]>; jumps: string[] }>();
  let table = { chains: new Map<string, string[]>(), jumps: [] as string[] };
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      table = { chains: new Map(), jumps: [] };
      tables.set(line.slice(1).trim(), table);
    } else if (line.startsWith(`:${CHAIN_PREFIX}`)) {
      table.chains.set(line.slice(1, line.indexOf(" ")), []);
    } else if (line.startsWith("-A ")) {
      const chain = line.split(" ", 2)[1] ?? "";
      if (chain.startsWith(CHAIN_PREFIX)) table.chains.get(chain)?.push(line.trim());
      else if (line.includes(` -j ${CHAIN_PREFIX}`) || line.includes(` -g ${CHAIN_PREFIX}`))
        table.jumps.push(line.trim());
    }
  }
  return new Map([...tables].filter(([, t]) => t.chains.size > 0 || t.jumps.length > 0));
}

/** The workloads that have rules, in order of name. */
export function workloadsIn(rules: OwnRules): string[] {
  const lines = [...rules.values()].flatMap((table) => [...table.chains.values()].flat());
  const owners = lines.map(ownerOf).filter((owner) => owner !== undefined);
  return [...new Set(owners)].sort();
}

/** `rules` with what `plan` says for its workload, in place of what was there for it. */
export function withPlan(rules: OwnRules, plan: IptablesPlan, family: Family): OwnRules {
  return withTables(withoutWorkload(rules, plan.name), plan.name, plan.families[family], rules);
}

/** `rules` with the plan's guard beside what is there for its workload, in place of an earlier guard. */
export function withGuard(rules: OwnRules, plan: IptablesPlan, family: Family): OwnRules {
  const filter = new Map([...rules].filter(([table]) => table === "filter"));
  const unguarded = new Map([...rules].filter(([table]) => table !== "filter"));
  const others = withoutWorkload(filter, plan.name);
  return withTables(new Map([...unguarded, ...others]), plan.name, [plan.guard[family]], rules);
}

/** `from` has the jumps whose places are kept. */
function withTables(rules: OwnRules, owner: string, tables: readonly TablePlan[], from: OwnRules): OwnRules {
  const result = new Map(rules);
  for (const { table, chains, dispatch } of tables) {
    const before = result.get(table) ?? { chains: new Map<string, readonly string[]>(), jumps: [] };
    const after = new Map(before.chains);
    for (const chain of chains)
      after.set(
        chain.name,
        chain.rules.map((rule) => renderRule(chain.name, rule, owner)),
      );
    for (const { hook, rules: added } of dispatch) {
      const name = dispatchChain(hook);
      const lines = added.map((rule) => renderRule(name, rule, owner));
      // Nobody else has anything to write there.
      const others = (after.get(name) ?? []).filter((line) => ownerOf(line) !== undefined);
      after.set(name, byScope([...others, ...lines]));
    }
    result.set(table, { chains: after, jumps: jumpsFor(from.get(table) ?? before, after) });
  }
  return result;
}

/** `rules` without anything of the workload; chains and jumps nobody needs any more go too. */
export function withoutWorkload(rules: OwnRules, name: string): OwnRules {
  const prefix = `${CHAIN_PREFIX}${shortId(name)}_`;
  const result = new Map<string, OwnTable>();
  for (const [key, table] of rules) {
    const chains = new Map<string, readonly string[]>();
    for (const [chain, lines] of table.chains) {
      if (chain.startsWith(prefix)) continue;
      const kept = lines.filter((line) => ownerOf(line) !== name && !line.includes(` ${prefix}`));
      if (kept.length > 0 || !isDispatchChain(chain)) chains.set(chain, kept);
    }
    if (chains.size > 0) result.set(key, { chains, jumps: jumpsFor(table, chains) });
  }
  return result;
}

/**
 * `rules` without what belongs to cgroups that are gone. No process can be in them, and iptables-legacy, which
 * checks every rule of a table again at each change, would refuse all changes ("Invalid argument").
 */
export function withoutDeadCgroups(rules: OwnRules, exists: (matchPath: string) => boolean): OwnRules {
  const isDead = (line: string): boolean => {
    const path = cgroupPathIn(line);
    return path !== undefined && !exists(path);
  };
  const dispatched = [...rules.values()].flatMap((table) =>
    [...table.chains].filter(([chain]) => isDispatchChain(chain)).flatMap(([, lines]) => lines),
  );
  const dead = dispatched
    .filter(isDead)
    .map(ownerOf)
    .filter((owner) => owner !== undefined);
  const result = dead.reduce(withoutWorkload, rules);
  return new Map(
    [...result].map(([key, table]) => [
      key,
      {
        ...table,
        chains: new Map([...table.chains].map(([chain, lines]) => [chain, lines.filter((line) => !isDead(line))])),
      },
    ]),
  );
}

/** One jump from each built-in chain whose dispatch chain exists; an existing one keeps its place. */
function jumpsFor(before: OwnTable, chains: ReadonlyMap<string, readonly string[]>): string[] {
  return HOOKS.filter((hook) => chains.has(dispatchChain(hook))).map(
    (hook) =>
      before.jumps.find((line) => isJump(line, hook)) ??
      `-A ${hook} -m comment --comment "shunt" -j ${dispatchChain(hook)}`,
  );
}

export function isJump(line: string, hook: Hook): boolean {
  return line.startsWith(`-A ${hook} `) && line.endsWith(` -j ${dispatchChain(hook)}`);
}

/** Rules for our own answers first, then the deepest cgroup, then the whole namespace: the innermost decides. */
function byScope(lines: readonly string[]): string[] {
  return lines
    .map((line, at) => ({ line, at, depth: depthOf(line) }))
    .sort((a, b) => b.depth - a.depth || a.at - b.at)
    .map(({ line }) => line);
}

function depthOf(line: string): number {
  if (!line.includes(` -g ${CHAIN_PREFIX}`)) return Number.MAX_SAFE_INTEGER;
  const path = cgroupPathIn(line);
  return path === undefined ? -1 : path.split("/").filter((part) => part !== "").length;
}
