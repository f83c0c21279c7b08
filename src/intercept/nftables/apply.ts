// SPDX-License-Identifier: Apache-2.0
import type { Applied, Drift, VerdictCounters } from "../backend.ts";
import { withNetnsLock } from "../iptables/netns-lock.ts";
import { verdictsOf } from "./counters.ts";
import { TABLE_WORDS, workloadPrefix } from "./naming.ts";
import { applyScript, canonicalTable, readCounters, readTable } from "./nft.ts";
import { NftablesError } from "./nftables-error.ts";
import type { NftablesPlan } from "./plan.ts";
import { render } from "./render.ts";
import { workloadsIn } from "./table-state.ts";
import { renderTransition } from "./transition.ts";
import { driftOf } from "./verify.ts";

/**
 * Puts the plan in force in its namespace by one transaction: established connections stay, each new one meets the old
 * rules or the new ones, and on a throw everything is as it was. Again changes nothing. Errors: NftablesError.
 */
export async function applyPlan(plan: NftablesPlan, signal?: AbortSignal): Promise<Applied> {
  const { name, netnsPath, warnings } = plan;
  return withNetnsLock(
    netnsPath,
    async () => {
      const [expected, actual] = await Promise.all([
        canonicalTable(render(plan), signal),
        readTable({ netnsPath }, signal),
      ]);
      const changed = driftOf(name, expected, actual).length > 0;
      if (changed) await applyScript({ netnsPath }, renderTransition(actual, name, plan), signal);
      return { name, netnsPath, warnings, changed };
    },
    signal,
  );
}

/** How the namespace differs from the plan; empty when it is as planned. */
export async function verifyPlan(plan: NftablesPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
  const [expected, actual] = await Promise.all([
    canonicalTable(render(plan), signal),
    readTable({ netnsPath: plan.netnsPath }, signal),
  ]);
  return driftOf(plan.name, expected, actual);
}

/** What an earlier process applied, when it is as planned. */
export async function adoptPlan(plan: NftablesPlan, signal?: AbortSignal): Promise<Applied | undefined> {
  const { name, netnsPath, warnings } = plan;
  return (await verifyPlan(plan, signal)).length === 0 ? { name, netnsPath, warnings, changed: false } : undefined;
}

/** Removes everything of one workload, and the table with the last of them. Whether there was anything. */
export async function removeWorkload(netnsPath: string, name: string, signal?: AbortSignal): Promise<boolean> {
  return removing(netnsPath, signal, async (state) => {
    const prefix = workloadPrefix(name);
    const there =
      workloadsIn(state).includes(name) || [...state.chains.keys()].some((chain) => chain.startsWith(prefix));
    if (there) await applyScript({ netnsPath }, renderTransition(state, name), signal);
    return there;
  });
}

/** Removes our table, whoever made it. Returns the workloads that had rules. */
export async function removeAll(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  let names: string[] = [];
  await removing(netnsPath, signal, async (state) => {
    await applyScript({ netnsPath }, `delete table ${TABLE_WORDS}\n`, signal);
    names = workloadsIn(state);
    return true;
  });
  return names;
}

/** Names of the workloads that have rules in the namespace. */
export async function findOurs(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  const state = await tableIfReadable(netnsPath, signal);
  return state ? workloadsIn(state) : [];
}

/** How often each reason was the answer since the workload's rules came. */
export async function readVerdicts(netnsPath: string, name: string, signal?: AbortSignal): Promise<VerdictCounters> {
  return verdictsOf(workloadPrefix(name), await readCounters({ netnsPath }, signal));
}

async function removing(
  netnsPath: string,
  signal: AbortSignal | undefined,
  work: (state: NonNullable<Awaited<ReturnType<typeof readTable>>>) => Promise<boolean>,
): Promise<boolean> {
  return withNetnsLock(
    netnsPath,
    async () => {
      const state = await tableIfReadable(netnsPath, signal);
      return state ? work(state) : false;
    },
    signal,
  );
}

/** Rules without the program can't be ours to remove: nobody could have made them. */
async function tableIfReadable(netnsPath: string, signal?: AbortSignal): ReturnType<typeof readTable> {
  try {
    return await readTable({ netnsPath }, signal);
  } catch (error) {
    if (error instanceof NftablesError && error.code === "ERR_NFTABLES_UNAVAILABLE") return undefined;
    throw error;
  }
}
