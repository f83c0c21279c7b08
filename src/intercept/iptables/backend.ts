// SPDX-License-Identifier: Apache-2.0
/**
 * Interception by iptables REDIRECT in the workload's network namespace: the fallback where eBPF can't be
 * used. The original destination is conntrack's: SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST on the accepted
 * connection.
 */
import { findCgroup2 } from "../../util/mountinfo.ts";
import type { Backend, BackendName } from "../backend.ts";
import type { InterceptSpec } from "../spec.ts";
import { type AppliedRules, type ApplyOptions, adoptPlan, applyPlan } from "./apply.ts";
import { leftovers, removeLeftovers } from "./leftovers.ts";
import { type IptablesPlan, type PlanFacts, plan } from "./plan.ts";
import { type IptablesProbe, probe } from "./probe.ts";
import { findOurs, removeAll, removeWorkload } from "./remove.ts";
import { render } from "./render.ts";
import { verifyPlan } from "./verify-plan.ts";

/** What rules have beyond every other back-end. */
export interface RulesBackend<Name extends BackendName = BackendName> extends Backend<IptablesPlan> {
  readonly name: Name;
  plan(spec: InterceptSpec, facts?: PlanFacts): IptablesPlan;
  probe(netnsPath?: string, signal?: AbortSignal): Promise<IptablesProbe>;
  apply(spec: InterceptSpec, options?: ApplyOptions): Promise<AppliedRules>;
  adopt(spec: InterceptSpec, options?: ApplyOptions): Promise<AppliedRules | undefined>;
  /** Everything of ours, whichever workload's. Returns the workloads that had rules. */
  removeAll(netnsPath: string, signal?: AbortSignal): Promise<string[]>;
  leftovers: typeof leftovers;
  removeLeftovers: typeof removeLeftovers;
}

/** Facts of this machine for `plan`. */
export function currentFacts(): PlanFacts {
  const cgroup2 = findCgroup2();
  return cgroup2 ? { cgroup2 } : {};
}

export const iptablesBackend: RulesBackend<"iptables"> = {
  name: "iptables",
  probe,
  plan: (spec, facts = currentFacts()) => plan(spec, facts),
  render,
  apply: async (spec, options) => applyPlan(plan(spec, currentFacts()), options),
  adopt: async (spec, options) => adoptPlan(plan(spec, currentFacts()), options?.signal),
  verify: async (spec, signal) => verifyPlan(plan(spec, currentFacts()), signal),
  remove: removeWorkload,
  removeAll,
  findOurs,
  leftovers,
  removeLeftovers,
};
