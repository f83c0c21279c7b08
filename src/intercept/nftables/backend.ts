// SPDX-License-Identifier: Apache-2.0
/**
 * Interception by redirect rules of nftables in the workload's network namespace: what iptables does, with ranges in
 * sets, in one transaction for both families. The original destination is conntrack's.
 */
import { findCgroup2 } from "../../util/mountinfo.ts";
import type { Backend, Rendered } from "../backend.ts";
import type { InterceptSpec } from "../spec.ts";
import { adoptPlan, applyPlan, findOurs, removeAll, removeWorkload, verifyPlan } from "./apply.ts";
import { type NftablesPlan, type PlanFacts, plan } from "./plan.ts";
import { type NftablesProbe, probe } from "./probe.ts";
import { render } from "./render.ts";

export interface NftablesBackend extends Backend<NftablesPlan> {
  probe(netnsPath?: string, signal?: AbortSignal): Promise<NftablesProbe>;
  plan(spec: InterceptSpec, facts?: PlanFacts): NftablesPlan;
  /** Removes everything of ours from a namespace, whichever agent made it. Returns the workloads that had rules. */
  removeAll(netnsPath: string, signal?: AbortSignal): Promise<string[]>;
}

/** Facts of this machine for `plan`. */
function currentFacts(): PlanFacts {
  const cgroup2 = findCgroup2();
  return cgroup2 ? { cgroup2 } : {};
}

export const nftablesBackend: NftablesBackend = {
  name: "nftables",
  probe,
  plan: (spec, facts = currentFacts()) => plan(spec, facts),
  render: (planned): readonly Rendered[] => [
    { title: "nftables rules", command: ["nft", "-f", "-"], text: render(planned) },
  ],
  apply: async (spec, options) => applyPlan(plan(spec, currentFacts()), options?.signal),
  adopt: async (spec, options) => adoptPlan(plan(spec, currentFacts()), options?.signal),
  verify: async (spec, signal) => verifyPlan(plan(spec, currentFacts()), signal),
  remove: removeWorkload,
  removeAll,
  findOurs,
};
