// SPDX-License-Identifier: Apache-2.0
/** What is there against what should be, table by table, by Istio's measure: the order of rules is not looked at. */
import type { Drift } from "../backend.ts";
import type { ChainFact } from "../istio/render-iptables.ts";
import type { FamilyRules } from "./family.ts";
import { chainOf, type SavedRules, tracesIn } from "./saved-rules.ts";

export type TableStatus = "equal" | "absent" | "different";

export interface TableState {
  readonly family: 4 | 6;
  readonly table: string;
  readonly status: TableStatus;
  /** Empty unless different. */
  readonly drifts: readonly Drift[];
}

/**
 * Equal: every chain of ours has the expected number of rules, every expected rule is there, and there is no further
 * chain of ours. Rules of others in chains of the kernel's don't matter. Absent: nothing of ours at all. A table changes
 * as a whole, so one that a killed run did not come to is absent.
 */
export async function tableStates(
  rules: FamilyRules,
  saved: SavedRules,
  facts: readonly ChainFact[],
  prefix: string,
): Promise<TableState[]> {
  const tables = new Set([...facts.map((fact) => fact.table), ...saved.keys()]);
  const states: TableState[] = [];
  for (const table of tables) {
    const expected = facts.filter((fact) => fact.table === table);
    const state = await tableState(rules, saved, table, { expected, prefix });
    if (expected.length > 0 || state.status !== "absent") states.push(state);
  }
  return states;
}

async function tableState(
  rules: FamilyRules,
  saved: SavedRules,
  table: string,
  { expected, prefix }: { expected: readonly ChainFact[]; prefix: string },
): Promise<TableState> {
  const { family } = rules;
  const traces = tracesIn(saved, table, prefix);
  const drifts = chainDrifts(saved, table, family, { expected, ours: traces.chains });
  const checks = expected.flatMap((fact) => fact.checks);
  if (drifts.length === 0) {
    for (const check of await rules.missing(checks)) {
      drifts.push(drift(family, table, check[3] ?? "", { expected: [check.slice(4).join(" ")], actual: [] }));
    }
    // Jumps to chains that should not be there went with those chains: what leads nowhere of ours is no drift.
    return { family, table, status: drifts.length === 0 ? "equal" : await orAbsent(), drifts };
  }
  return { family, table, status: await orAbsent(), drifts };

  /** Nothing of ours at all, not even rules that stand by themselves in chains of the kernel's. */
  async function orAbsent(): Promise<TableStatus> {
    if (traces.chains.length + traces.jumps.length > 0) return "different";
    const loose = expected.filter((fact) => fact.builtIn).flatMap((fact) => fact.checks);
    const missing = loose.length === 0 ? loose : await rules.missing(loose);
    return missing.length === loose.length ? "absent" : "different";
  }
}

function chainDrifts(
  saved: SavedRules,
  table: string,
  family: 4 | 6,
  { expected, ours }: { expected: readonly ChainFact[]; ours: readonly string[] },
): Drift[] {
  const drifts: Drift[] = [];
  for (const fact of expected.filter((f) => !f.builtIn)) {
    const actual = chainOf(saved, table, fact.chain);
    if (actual?.length === fact.rules) continue;
    const wanted = fact.checks.map((check) => check.slice(4).join(" "));
    drifts.push(drift(family, table, fact.chain, { expected: wanted, actual: actual ?? [] }));
  }
  for (const chain of ours.filter((name) => !expected.some((fact) => fact.chain === name))) {
    drifts.push(drift(family, table, chain, { expected: [], actual: chainOf(saved, table, chain) ?? [] }));
  }
  return drifts;
}

function drift(
  family: 4 | 6,
  table: string,
  chain: string,
  { expected, actual }: Pick<Drift, "expected" | "actual">,
): Drift {
  const kind =
    actual.length === 0 && expected.length > 0 ? "missing" : expected.length === 0 ? "unexpected" : "changed";
  return { family, table, chain, kind, expected, actual };
}

/** "IPv4 nat ISTIO_INBOUND: 3 rules instead of 2". */
export function describeDrift({ family, table, chain, kind, expected, actual }: Drift): string {
  const where = `IPv${family} ${table} ${chain}`;
  if (kind === "unexpected") return `${where} should not be there`;
  if (kind === "missing") return `${where} lacks ${expected.length === 1 ? expected[0] : `${expected.length} rules`}`;
  return `${where}: ${actual.length} rules instead of ${expected.length}`;
}
