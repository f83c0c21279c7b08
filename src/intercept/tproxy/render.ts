// SPDX-License-Identifier: Apache-2.0
import type { Rendered } from "../backend.ts";
import { render as renderRules } from "../iptables/render.ts";
import type { TproxyPlan } from "./plan.ts";

/** In the words of ip and iptables-restore, in the order in which they are applied. */
export function render(plan: TproxyPlan): readonly Rendered[] {
  return renderRules(plan);
}
