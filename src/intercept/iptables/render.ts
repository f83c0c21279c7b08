// SPDX-License-Identifier: Apache-2.0
import type { IptablesPlan } from "./plan.ts";
import type { Family } from "./rule.ts";
import { emptyRules, withPlan } from "./rule-state.ts";
import { renderTransition } from "./transition.ts";

/** Input of iptables-restore (or ip6tables-restore) --noflush for a namespace that has no rules of ours. */
export function render(plan: IptablesPlan, family: Family): string {
  return renderTransition(emptyRules(), withPlan(emptyRules(), plan, family));
}
