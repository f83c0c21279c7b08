// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import type { CleanItem } from "../config/formats/clean-report.ts";
import { iptablesBackend } from "../intercept/iptables/backend.ts";
import { NetworkNamespace } from "../intercept/network-namespace.ts";
import { nftablesBackend } from "../intercept/nftables/backend.ts";
import { removePassthroughAddress } from "./passthrough-address.ts";
import { removePreserveSourceRouting } from "./preserve-source.ts";
import type { WorkloadTrace } from "./scope-lock.ts";

/** Performs one removal; the action says whether there was anything. */
export type Attempt = (item: CleanItem, action: () => Promise<boolean> | boolean) => Promise<void>;

/**
 * Takes away what a process that is gone has added to the namespace of one workload, as far as nobody in `inForce`
 * has taken it over. Programs are not its business.
 */
export async function undoTrace(
  trace: WorkloadTrace,
  attempt: Attempt,
  inForce: readonly WorkloadTrace[] = [],
): Promise<void> {
  const { netns: path, workload, fwmarkAccept, passthroughAddress } = trace;
  // A namespace that is gone took everything in it along.
  if (!existsSync(path)) return;
  const sharers = inForce.filter(({ netns }) => netns === path);
  const namesakes = sharers.filter((other) => other.workload === workload);
  for (const [name, backend] of [
    ["iptables", iptablesBackend],
    ["nftables", nftablesBackend],
  ] as const) {
    // Of one that was killed in the middle of a change it can have been any of them.
    if (trace.rules?.includes(name) === false || namesakes.some(({ rules }) => rules?.includes(name) !== false))
      continue;
    await attempt({ kind: name, name: `rules of ${workload} in ${path}` }, () => backend.remove(path, workload));
  }
  if (fwmarkAccept !== undefined && !sharers.some((other) => other.fwmarkAccept !== undefined)) {
    await attempt(
      { kind: "ip-rule", name: `rules and routes of ${workload} in ${path}` },
      async () => (await removePreserveSourceRouting(path, fwmarkAccept)).length > 0,
    );
  }
  if (passthroughAddress && !sharers.some((other) => other.passthroughAddress)) {
    await attempt({ kind: "address", name: `::6/128 on lo in ${path}` }, () => {
      using netns = new NetworkNamespace(path);
      return removePassthroughAddress(netns);
    });
  }
}
