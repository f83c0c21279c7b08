// SPDX-License-Identifier: Apache-2.0
import type { Hook } from "./naming.ts";
import type { Rule, Table } from "./rule.ts";

export interface ChainPlan {
  readonly name: string;
  readonly rules: readonly Rule[];
}

/** What leads packets from a built-in chain to a workload's own chains. */
export interface DispatchPlan {
  readonly hook: Hook;
  readonly rules: readonly Rule[];
}

export interface TablePlan {
  readonly table: Table;
  /** The workload's own chains; a chain comes before those that lead to it. */
  readonly chains: readonly ChainPlan[];
  /** What the workload adds to the chains all workloads of the namespace share. */
  readonly dispatch: readonly DispatchPlan[];
}

/** One plan per table, without those that say nothing; of one table the chains and rules follow each other. */
export function mergeTables(parts: readonly TablePlan[], order: readonly Table[]): TablePlan[] {
  return order.flatMap((table) => {
    const same = parts.filter((part) => part.table === table);
    const chains = same.flatMap((part) => part.chains);
    const dispatch = mergeDispatch(same.flatMap((part) => part.dispatch));
    return chains.length > 0 || dispatch.length > 0 ? [{ table, chains, dispatch }] : [];
  });
}

function mergeDispatch(parts: readonly DispatchPlan[]): DispatchPlan[] {
  const hooks = [...new Set(parts.filter(({ rules }) => rules.length > 0).map(({ hook }) => hook))];
  return hooks.map((hook) => ({
    hook,
    rules: parts.filter((part) => part.hook === hook).flatMap(({ rules }) => rules),
  }));
}
