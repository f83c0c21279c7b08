// SPDX-License-Identifier: Apache-2.0

import type { ProbeOptions } from "../config/command-options.ts";
import type { ProbeReport } from "../config/formats/probe.ts";
import { BPF_OBJECTS } from "../intercept/bpf-objects.ts";
import { Cgroup2Mount } from "../intercept/cgroup2-mount.ts";
import { choose } from "../intercept/probe/choose.ts";
import { attachedPrograms } from "../intercept/probe/foreign-programs.ts";
import { probe } from "../intercept/probe/probe.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { tryContractHere } from "./acceleration-contract.ts";
import { ownCgroup } from "./exec/scratch-cgroup.ts";
import { packetPoliciesHere } from "./packet-policies-here.ts";

/** What this machine can do, what would be chosen, and who else is on the path. Changes nothing. */
export async function probeMachine(options: ProbeOptions): Promise<ProbeReport> {
  using _cgroup2 = new Cgroup2Mount();
  const results = await probe(BPF_OBJECTS);
  const { mode, outbound, inbound, originalDestination, tier, reason } = choose(results);
  const root = options.cgroupRoot ?? findCgroup2()?.mountPoint;
  const looksAtPrograms = results.get("cgroup2")?.ok && results.get("bpf-syscall")?.ok;
  const foreignPrograms = root !== undefined && looksAtPrograms ? attachedPrograms(ownCgroup(), root) : [];
  return {
    mode,
    outbound,
    inbound,
    originalDestination,
    tier,
    reason,
    features: Object.fromEntries(results),
    foreignPrograms,
    packetPolicies: await packetPoliciesHere(),
    ...(options.contract && { contract: await tryContractHere() }),
  };
}
