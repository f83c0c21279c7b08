// SPDX-License-Identifier: Apache-2.0
import type { RulesOptions, RulesWorkload } from "../../config/command-options.ts";
import type { RulesBackendName, WorkloadReport } from "../../config/formats/rules.ts";
import { BACKENDS } from "../../intercept/backends.ts";
import { istioChains } from "../../intercept/istio-iptables/rules-backend.ts";
import { EveryStep } from "../../util/every-step.ts";
import { silentLogger } from "../../util/log.ts";
import { resolveTarget } from "../target.ts";
import { holdersOf } from "./choose-backend.ts";
import { HandScope } from "./hand-scope.ts";
import { handSpec } from "./hand-spec.ts";

/** What has its rules in iptables is removed as a whole by either name. */
const ALL: readonly RulesBackendName[] = ["iptables", "nftables", "ebpf"];

/** Removes what any back-end, or the one that was asked for, has of a workload in its namespace. */
export async function removeWorkload(
  workload: RulesWorkload,
  { backend, istioChains: istio, signal }: RulesOptions,
): Promise<Pick<WorkloadReport, "outcome" | "removed">> {
  const { name, target } = workload.config;
  const { netns, key } = resolveTarget(target);
  using _netns = netns;
  using scope = new HandScope(netns, name, key);
  const removed: RulesBackendName[] = [];
  const steps = new EveryStep();
  if (istio) {
    const chains = istioChains(handSpec(workload), workload.dualStack, silentLogger);
    if (await chains.remove(netns.path, name, signal)) removed.push("iptables");
  } else {
    for (const one of backend === undefined ? ALL : [backend]) {
      await steps.run(async () => {
        const isTproxy = one === "iptables" && (await BACKENDS.tproxy.findOurs(netns.path, signal)).includes(name);
        if (await BACKENDS[one].remove(netns.path, name, signal)) removed.push(isTproxy ? "tproxy" : one);
      });
    }
  }
  steps.throwIfAny(`workload "${name}" not removed`);
  // With one back-end asked for, another may still be in force and need it.
  const last = removed.length > 0 && (await holdersOf(handSpec(workload), signal)).length === 0;
  if (backend === undefined || last) {
    scope.removeAddress();
    scope.forget();
  }
  return { outcome: removed.length > 0 ? "removed" : "nothing", removed };
}
