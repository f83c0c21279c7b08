// SPDX-License-Identifier: Apache-2.0
import type { Rendered } from "../backend.ts";
import type { IptablesPlan } from "./plan.ts";
import { type MarkRoute, routeWords, ruleWords } from "./policy-routing.ts";
import type { Family } from "./rule.ts";
import { emptyRules, withPlan } from "./rule-state.ts";
import { renderTransition } from "./transition.ts";

/** Everything of a plan in the words of iptables-restore and ip, for a namespace that has nothing of ours. */
export function render(plan: IptablesPlan): readonly Rendered[] {
  const routing = plan.routing ? [policyRouting(plan.routing)] : [];
  const rules = ([4, 6] as const).map((family) => ({
    title: `IPv${family} rules`,
    command: [family === 4 ? "iptables-restore" : "ip6tables-restore", "--noflush"],
    text: restoreText(plan, family),
  }));
  return [...routing, ...rules];
}

/** Input of iptables-restore (or ip6tables-restore) --noflush for a namespace that has no rules of ours. */
export function restoreText(plan: IptablesPlan, family: Family): string {
  return renderTransition(emptyRules(), withPlan(emptyRules(), plan, family));
}

/** For `ip -batch -`. */
function policyRouting(route: MarkRoute): Rendered {
  const lines = ["-4", "-6"].flatMap((family) => [
    [family, "route", "replace", ...routeWords(route)],
    [family, "rule", "add", ...ruleWords(route)],
  ]);
  return {
    title: "policy routing",
    command: ["ip", "-batch", "-"],
    text: lines.map((words) => `${words.join(" ")}\n`).join(""),
  };
}
