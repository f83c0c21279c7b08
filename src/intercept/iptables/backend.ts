// SPDX-License-Identifier: Apache-2.0
/**
 * Interception by iptables REDIRECT in the workload's network namespace: the fallback where eBPF can't be
 * used. The original destination is conntrack's: SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST on the accepted
 * connection.
 */
import { findCgroup2 } from "../../util/mountinfo.ts";
import type { InterceptSpec } from "../spec.ts";
import {
  type AppliedRules,
  type ApplyOptions,
  applyPlan,
  findOurs,
  removeAll,
  removeWorkload,
  verifyPlan,
} from "./apply.ts";
import { type IptablesPlan, type PlanFacts, plan } from "./plan.ts";
import { probe } from "./probe.ts";
import { render } from "./render.ts";

/** Facts of this machine for `plan`. */
export function currentFacts(): PlanFacts {
  const cgroup2 = findCgroup2();
  return cgroup2 ? { cgroup2 } : {};
}

export const iptablesBackend = {
  name: "iptables",
  probe,
  plan: (spec: InterceptSpec, facts: PlanFacts = currentFacts()): IptablesPlan => plan(spec, facts),
  render,
  /** Plans and applies; see applyPlan. */
  apply: (spec: InterceptSpec, options?: ApplyOptions): Promise<AppliedRules> =>
    applyPlan(plan(spec, currentFacts()), options),
  /** How the namespace differs from what the specification asks for. */
  verify: (spec: InterceptSpec, signal?: AbortSignal) => verifyPlan(plan(spec, currentFacts()), signal),
  remove: removeWorkload,
  removeAll,
  findOurs,
} as const;
