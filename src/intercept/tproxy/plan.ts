// SPDX-License-Identifier: Apache-2.0
import { type IptablesPlan, type PlanFacts, plan as planRules } from "../iptables/plan.ts";
import { TPROXY_ROUTE } from "../iptables/policy-routing.ts";
import type { InterceptSpec } from "../spec.ts";
import { tproxyInbound } from "./inbound-rules.ts";

/** Outbound and DNS as with REDIRECT; inbound by TPROXY, with the routing it needs. */
export type TproxyPlan = IptablesPlan;

/** Pure, as the plan of REDIRECT rules, and throws for the same reasons. */
export function plan(spec: InterceptSpec, facts: PlanFacts = {}): TproxyPlan {
  const planned = planRules(spec, facts, tproxyInbound);
  if (!spec.inbound) return planned;
  return {
    ...planned,
    routing: TPROXY_ROUTE,
    warnings: [...planned.warnings, ...warningsFor(spec)],
    listeners: { ...planned.listeners, inbound: "transparent-loopback" },
  };
}

function warningsFor(spec: InterceptSpec): string[] {
  return spec.failMode === "deny"
    ? ["failMode deny: while the proxy is away, inbound connections get no answer, instead of a refusal"]
    : [];
}
