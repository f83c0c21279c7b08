// SPDX-License-Identifier: Apache-2.0
import type { Applied, Drift } from "../backend.ts";
import { byPreference, holds } from "./choose-flavour.ts";
import { IptablesError } from "./iptables-error.ts";
import { type Change, changeRules, type FlavourRules, hasIpv6, readNamespace } from "./namespace-rules.ts";
import { withNetnsLock } from "./netns-lock.ts";
import type { IptablesPlan } from "./plan.ts";
import { addRouting, removeRouting, routedFamilies, TPROXY_ROUTE } from "./policy-routing.ts";
import { removeWorkload } from "./remove.ts";
import type { Family } from "./rule.ts";
import { withGuard, withoutWorkload, withPlan } from "./rule-state.ts";
import { type Flavour, installedTools, type Tools, tablesOf } from "./tools.ts";
import { needsRouting } from "./tproxy-use.ts";
import { renderTransition } from "./transition.ts";
import { type Expectation, expectationOf } from "./verify.ts";
import { driftIn, verifyPlan } from "./verify-plan.ts";

/** Rules in force. */
export interface AppliedRules extends Applied {
  readonly flavour: Flavour;
  /** [4] only where the namespace has no IPv6 and no IPv6 rules can be made. */
  readonly families: readonly Family[];
  verify(signal?: AbortSignal): Promise<readonly Drift[]>;
  remove(signal?: AbortSignal): Promise<void>;
}

export interface ApplyOptions {
  /** Instead of the flavour that has rules already or the machine's default. */
  readonly flavour?: Flavour;
  readonly signal?: AbortSignal;
}

/** Whatever the programs do, after this time the attempt ends and is taken back. */
const LIMIT_MS = 60_000;

/**
 * Puts the plan in force in its namespace: again changes nothing, a changed plan replaces the old one, drift is
 * repaired, and on a throw the namespace is as it was before. Each table changes in one transaction; when there are
 * several and something was in force already, a guard drops what would pass by in between. Errors: IptablesError.
 */
export async function applyPlan(plan: IptablesPlan, options: ApplyOptions = {}): Promise<AppliedRules> {
  const limit = AbortSignal.timeout(LIMIT_MS);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const installed = await requireTools(signal);
  return withNetnsLock(plan.netnsPath, () => applyLocked(plan, installed, options.flavour, signal), signal);
}

/** What an earlier process applied, when it is there and as planned; undefined otherwise. Changes nothing. */
export async function adoptPlan(plan: IptablesPlan, signal?: AbortSignal): Promise<AppliedRules | undefined> {
  const installed = await installedTools(signal);
  if (installed.length === 0) return undefined;
  return withNetnsLock(
    plan.netnsPath,
    async () => {
      const found = await readNamespace(plan.netnsPath, installed, signal);
      const target = found.find((flavour) => holds(flavour, plan.name));
      if (!target) return undefined;
      const expectation = await expectationOf(plan, target, signal);
      const ipv6 = plan.ipv6 && (await hasIpv6(plan.netnsPath, signal));
      if ((await driftIn(plan, { found, target, expectation, ipv6 }, signal)).length > 0) return undefined;
      return inForce(plan, target, plan.warnings, false);
    },
    signal,
  );
}

async function applyLocked(
  plan: IptablesPlan,
  installed: readonly Tools[],
  only: Flavour | undefined,
  signal: AbortSignal,
): Promise<AppliedRules> {
  const { netnsPath, name } = plan;
  const found = await readNamespace(netnsPath, installed, signal);
  const ipv6 = plan.ipv6 && (await hasIpv6(netnsPath, signal));
  const candidates = byPreference(found, { name, ipv6, ...(only !== undefined && { only }) });
  const { target, expectation, warnings } = await firstUsable(plan, candidates, only, signal);
  if (plan.ipv6 && !target.families.has(6)) warnings.push(withoutIpv6(netnsPath, target, ipv6));
  if (holds(target, name) && (await driftIn(plan, { found, target, expectation, ipv6 }, signal)).length === 0) {
    return inForce(plan, target, [...plan.warnings, ...warnings], false);
  }
  const changed = await enforce(plan, found, target, ipv6, signal);
  return inForce(plan, target, [...plan.warnings, ...warnings], changed);
}

/** Whether there was anything to change. */
async function enforce(
  plan: IptablesPlan,
  found: readonly FlavourRules[],
  target: FlavourRules,
  ipv6: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const { netnsPath, name, routing } = plan;
  let changed = false;
  try {
    // A route without rules does nothing; rules without the route lead packets astray.
    if (routing) changed = await addRouting(netnsPath, routing, routedFamilies(ipv6), signal);
    if (await changeRules(netnsPath, target, stepsTo(plan, target), signal)) changed = true;
    for (const other of found.filter((f) => f !== target)) {
      if (await changeRules(netnsPath, other, [(own) => withoutWorkload(own, name)], signal)) changed = true;
    }
  } catch (error) {
    if (routing && !needsRouting(found)) await removeRouting(netnsPath, routing);
    throw error;
  }
  const over = !routing && needsRouting(found) && !needsRouting(found, name);
  if (over) await removeRouting(netnsPath, TPROXY_ROUTE, signal);
  return changed;
}

/** One step when it is one transaction, or when nothing was in force that could be missed; else under the guard. */
function stepsTo(plan: IptablesPlan, target: FlavourRules): readonly Change[] {
  const change: Change = (own, family) => withPlan(own, plan, family);
  const transactions = [...target.families].flatMap(([family, { own }]) =>
    tablesOf(renderTransition(own, change(own, family))),
  );
  if (transactions.length < 2 || !holds(target, plan.name)) return [change];
  return [
    (own, family) => withGuard(own, plan, family),
    (own, family) => withGuard(change(own, family), plan, family),
    change,
  ];
}

/**
 * The first that takes the rules in a namespace of its own: the rules themselves are the probe of every match they
 * need. What was tried before it is told.
 */
async function firstUsable(
  plan: IptablesPlan,
  candidates: readonly FlavourRules[],
  only: Flavour | undefined,
  signal: AbortSignal,
): Promise<{ readonly target: FlavourRules; readonly expectation: Expectation; readonly warnings: string[] }> {
  const refusals: { readonly flavour: Flavour; readonly error: unknown }[] = [];
  for (const target of candidates) {
    let expectation: Expectation;
    try {
      expectation = await expectationOf(plan, target, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      refusals.push({ flavour: target.tools.flavour, error });
      continue;
    }
    const warnings = refusals.map(
      ({ flavour, error }) =>
        `iptables-${target.tools.flavour} is used, because iptables-${flavour} can't: ${String(error)}`,
    );
    return { target, expectation, warnings };
  }
  if (refusals[0]) throw refusals[0].error;
  throw new IptablesError("ERR_IPTABLES_UNAVAILABLE", `iptables of flavour ${only ?? "any"} is not installed`);
}

/** IPv6 must not leak past the rules: without ip6tables the namespace may have no IPv6 at all. */
function withoutIpv6(netnsPath: string, target: FlavourRules, ipv6: boolean): string {
  const reason = target.tools[6]
    ? `${target.tools[6].save} can't read the kernel's rules`
    : "ip6tables is not installed";
  if (ipv6) {
    throw new IptablesError(
      "ERR_IPTABLES_IPV6_UNAVAILABLE",
      `network namespace ${netnsPath} has IPv6 addresses, but ${reason}: IPv6 would pass by the proxy`,
    );
  }
  return `IPv6 is not intercepted: ${reason}, and the namespace has no IPv6 address`;
}

function inForce(
  plan: IptablesPlan,
  target: FlavourRules,
  warnings: readonly string[],
  changed: boolean,
): AppliedRules {
  const { name, netnsPath } = plan;
  return {
    name,
    netnsPath,
    flavour: target.tools.flavour,
    families: [...target.families.keys()],
    warnings,
    changed,
    verify: (signal) => verifyPlan(plan, signal),
    remove: async (signal) => void (await removeWorkload(netnsPath, name, signal)),
  };
}

async function requireTools(signal?: AbortSignal): Promise<Tools[]> {
  const installed = await installedTools(signal);
  if (installed.length === 0) throw new IptablesError("ERR_IPTABLES_UNAVAILABLE", "iptables is not installed");
  return installed;
}
