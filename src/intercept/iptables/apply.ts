// SPDX-License-Identifier: Apache-2.0
import { IptablesError } from "./iptables-error.ts";
import { changeRules, chooseFlavour, type FlavourRules, hasIpv6, readNamespace } from "./namespace-rules.ts";
import { withNetnsLock } from "./netns-lock.ts";
import type { IptablesPlan } from "./plan.ts";
import type { Family } from "./rule.ts";
import { emptyRules, type OwnRules, withoutWorkload, withPlan, workloadsIn } from "./rule-state.ts";
import { type Flavour, installedTools, type Tools } from "./tools.ts";
import { type Drift, driftOf } from "./verify.ts";

/** Rules in force. */
export interface AppliedRules {
  readonly name: string;
  readonly netnsPath: string;
  readonly flavour: Flavour;
  /** [4] only where the namespace has no IPv6 and no IPv6 rules can be made. */
  readonly families: readonly Family[];
  readonly warnings: readonly string[];
  verify(signal?: AbortSignal): Promise<readonly Drift[]>;
  remove(signal?: AbortSignal): Promise<void>;
}

export interface ApplyOptions {
  /** Instead of the flavour that has rules already or the machine's default. */
  readonly flavour?: Flavour;
  readonly signal?: AbortSignal;
}

/**
 * Puts the plan in force in its namespace: again gives the same rules, a changed plan replaces the old one in
 * one transaction a table, and on a throw the namespace is as it was before. Errors: IptablesError.
 */
export async function applyPlan(plan: IptablesPlan, options: ApplyOptions = {}): Promise<AppliedRules> {
  const { netnsPath } = plan;
  const { signal } = options;
  const installed = await requireTools(signal);
  return withNetnsLock(
    netnsPath,
    async () => {
      const found = await readNamespace(netnsPath, installed, signal);
      const target = chooseFlavour(found, (flavour) => options.flavour === undefined || flavour === options.flavour);
      if (!target) {
        throw new IptablesError(
          "ERR_IPTABLES_UNAVAILABLE",
          `iptables of flavour ${options.flavour ?? "any"} is not installed`,
        );
      }
      const warnings = [...plan.warnings];
      if (!target.families.has(6)) warnings.push(await withoutIpv6(netnsPath, target, signal));
      await changeRules(netnsPath, target, (own, family) => withPlan(own, plan, family), signal);
      await removeFrom(
        found.filter((f) => f !== target),
        netnsPath,
        (own) => withoutWorkload(own, plan.name),
        signal,
      );
      return {
        name: plan.name,
        netnsPath,
        flavour: target.tools.flavour,
        families: [...target.families.keys()],
        warnings,
        verify: (s) => verifyPlan(plan, s),
        remove: async (s) => void (await removeWorkload(netnsPath, plan.name, s)),
      };
    },
    signal,
  );
}

/** IPv6 must not leak past the rules: without ip6tables the namespace may have no IPv6 at all. */
async function withoutIpv6(netnsPath: string, target: FlavourRules, signal?: AbortSignal): Promise<string> {
  const reason = target.tools[6]
    ? `${target.tools[6].save} can't read the kernel's rules`
    : "ip6tables is not installed";
  if (await hasIpv6(netnsPath, signal)) {
    throw new IptablesError(
      "ERR_IPTABLES_IPV6_UNAVAILABLE",
      `network namespace ${netnsPath} has IPv6 addresses, but ${reason}: IPv6 would pass by the proxy`,
    );
  }
  return `IPv6 is not intercepted: ${reason}, and the namespace has no IPv6 address`;
}

/** Removes the workload's rules, jumps and chains in every flavour and family. Whether there were any. */
export async function removeWorkload(netnsPath: string, name: string, signal?: AbortSignal): Promise<boolean> {
  return (await removeEverywhere(netnsPath, (own) => withoutWorkload(own, name), signal)).includes(name);
}

/** Removes everything of ours from a namespace, whichever agent made it. Returns the workloads that had rules. */
export async function removeAll(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  return removeEverywhere(netnsPath, () => emptyRules(), signal);
}

/** Names of the workloads that have rules in the namespace; a workload without a readable comment doesn't count. */
export async function findOurs(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  return namesIn(await readNamespace(netnsPath, await installedTools(signal), signal));
}

/** How the namespace differs from the plan; empty when it is as planned. */
export async function verifyPlan(plan: IptablesPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
  const found = await readNamespace(plan.netnsPath, await requireTools(signal), signal);
  const holding = found.find((f) => namesIn([f]).includes(plan.name)) ?? chooseFlavour(found);
  if (!holding) return [];
  return driftOf(plan, holding, signal);
}

async function removeEverywhere(
  netnsPath: string,
  change: (own: OwnRules) => OwnRules,
  signal?: AbortSignal,
): Promise<string[]> {
  // Rules without programs can't be ours to remove: nobody could have made them.
  const installed = await installedTools(signal);
  if (installed.length === 0) return [];
  return withNetnsLock(
    netnsPath,
    async () => {
      const found = await readNamespace(netnsPath, installed, signal);
      await removeFrom(found, netnsPath, change, signal);
      return namesIn(found);
    },
    signal,
  );
}

async function removeFrom(
  found: readonly FlavourRules[],
  netnsPath: string,
  change: (own: OwnRules) => OwnRules,
  signal?: AbortSignal,
): Promise<void> {
  for (const flavour of found) await changeRules(netnsPath, flavour, change, signal);
}

function namesIn(found: readonly FlavourRules[]): string[] {
  const names = found.flatMap((f) => [...f.families.values()].flatMap(({ own }) => workloadsIn(own)));
  return [...new Set(names)].sort();
}

async function requireTools(signal?: AbortSignal): Promise<Tools[]> {
  const installed = await installedTools(signal);
  if (installed.length === 0) throw new IptablesError("ERR_IPTABLES_UNAVAILABLE", "iptables is not installed");
  return installed;
}
