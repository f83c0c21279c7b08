// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../backend.ts";
import { byPreference } from "./choose-flavour.ts";
import { IptablesError } from "./iptables-error.ts";
import { type FlavourRules, hasIpv6, readNamespace } from "./namespace-rules.ts";
import type { IptablesPlan } from "./plan.ts";
import { routedFamilies, routingDrift } from "./policy-routing.ts";
import { installedTools } from "./tools.ts";
import { driftOf, type Expectation, expectationOf } from "./verify.ts";

/** How the namespace differs from the plan; empty when it is as planned. */
export async function verifyPlan(plan: IptablesPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
  const installed = await installedTools(signal);
  if (installed.length === 0) throw new IptablesError("ERR_IPTABLES_UNAVAILABLE", "iptables is not installed");
  const found = await readNamespace(plan.netnsPath, installed, signal);
  const ipv6 = plan.ipv6 && (await hasIpv6(plan.netnsPath, signal));
  const [target] = byPreference(found, { name: plan.name, ipv6 });
  if (!target) return [];
  return driftIn(plan, { found, target, ipv6, expectation: await expectationOf(plan, target, signal) }, signal);
}

export interface Situation {
  /** All that the namespace has. */
  readonly found: readonly FlavourRules[];
  /** Where the rules are meant to be. */
  readonly target: FlavourRules;
  readonly expectation: Expectation;
  /** Whether the namespace has IPv6. */
  readonly ipv6: boolean;
}

export async function driftIn(
  plan: IptablesPlan,
  situation: Situation,
  signal?: AbortSignal,
): Promise<readonly Drift[]> {
  const { name, netnsPath } = plan;
  const { found, target, expectation, ipv6 } = situation;
  const rules = driftOf(expectation, target, name);
  // In the other flavour there should be nothing.
  const elsewhere = found.filter((f) => f !== target).flatMap((f) => driftOf(new Map(), f, name));
  const routing = plan.routing ? await routingDrift(netnsPath, plan.routing, routedFamilies(ipv6), signal) : [];
  return [...rules, ...elsewhere, ...(ipv6 && !target.families.has(6) ? [unguarded(plan)] : []), ...routing];
}

/** IPv6 came after the rules, which are of IPv4 only. */
function unguarded(plan: IptablesPlan): Drift {
  const expected = plan.families[6].flatMap(({ chains }) => chains.map(({ name }) => name));
  return { family: 6, table: "nat", chain: "*", kind: "missing", expected, actual: [] };
}
