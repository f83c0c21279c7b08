// SPDX-License-Identifier: Apache-2.0
import { type AppliedRules, type ApplyOptions, adoptPlan, applyPlan } from "../iptables/apply.ts";
import type { TproxyPlan } from "./plan.ts";

/** Routing first, then the rules; when the rules are refused, the routing goes again unless others need it. */
export function apply(plan: TproxyPlan, options?: ApplyOptions): Promise<AppliedRules> {
  return applyPlan(plan, options);
}

/** Rules and routing of an earlier process, when both are as planned. */
export function adopt(plan: TproxyPlan, options?: ApplyOptions): Promise<AppliedRules | undefined> {
  return adoptPlan(plan, options?.signal);
}
