// SPDX-License-Identifier: Apache-2.0
import { namesIn } from "./choose-flavour.ts";
import { changeRules, type FlavourRules, readNamespace } from "./namespace-rules.ts";
import { withNetnsLock } from "./netns-lock.ts";
import { removeRouting, TPROXY_ROUTE } from "./policy-routing.ts";
import { emptyRules, type OwnRules, withoutWorkload } from "./rule-state.ts";
import { installedTools } from "./tools.ts";
import { needsRouting } from "./tproxy-use.ts";

/**
 * Removes the workload's rules, jumps and chains in every flavour and family, and the routing when nobody needs it any
 * more. Whether there was anything.
 */
export async function removeWorkload(netnsPath: string, name: string, signal?: AbortSignal): Promise<boolean> {
  const { found, routing } = await removeEverywhere(netnsPath, (own) => withoutWorkload(own, name), name, signal);
  return namesIn(found).includes(name) || routing;
}

/** Removes everything of ours from a namespace, whichever agent made it. Returns the workloads that had rules. */
export async function removeAll(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  const { found } = await removeEverywhere(netnsPath, () => emptyRules(), undefined, signal);
  return namesIn(found);
}

/** Names of the workloads that have rules in the namespace; a workload without a readable comment doesn't count. */
export async function findOurs(netnsPath: string, signal?: AbortSignal): Promise<string[]> {
  return namesIn(await readNamespace(netnsPath, await installedTools(signal), signal));
}

async function removeEverywhere(
  netnsPath: string,
  change: (own: OwnRules) => OwnRules,
  name: string | undefined,
  signal?: AbortSignal,
): Promise<{ readonly found: readonly FlavourRules[]; readonly routing: boolean }> {
  // Rules without programs can't be ours to remove: nobody could have made them.
  const installed = await installedTools(signal);
  if (installed.length === 0) return { found: [], routing: false };
  return withNetnsLock(
    netnsPath,
    async () => {
      const found = await readNamespace(netnsPath, installed, signal);
      for (const flavour of found) await changeRules(netnsPath, flavour, [change], signal);
      const needed = name !== undefined && needsRouting(found, name);
      const routing = !needed && (await removeRouting(netnsPath, TPROXY_ROUTE, signal));
      return { found, routing };
    },
    signal,
  );
}
