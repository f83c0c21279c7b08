// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../backend.ts";
import { verifyPlan } from "../iptables/verify-plan.ts";
import type { TproxyPlan } from "./plan.ts";

/** Rules, ip rules and routes: how they differ from the plan. */
export function verify(plan: TproxyPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
  return verifyPlan(plan, signal);
}
