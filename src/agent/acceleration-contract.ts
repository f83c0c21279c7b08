// SPDX-License-Identifier: Apache-2.0
/** The contract self-test in a cgroup of its own, and its verdict, which holds until the next boot or version. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tryContract, untriedContract } from "../accelerate/contract/contract.ts";
import { type ContractKey, keepContract, readKeptContract } from "../accelerate/contract/kept-contract.ts";
import type { Contract } from "../accelerate/contract/verdict.ts";
import type { MetricFamily } from "../admin/prometheus.ts";
import { RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import { BPF_OBJECTS } from "../intercept/bpf-objects.ts";
import { reasonOf } from "../intercept/probe/outcome.ts";
import { ScratchCgroup } from "../intercept/probe/scratch-cgroup.ts";
import { version } from "./version.ts";

/** No agent can have this name: names begin with a letter or a digit. `clean --all` removes it as it does folders of agents. */
const KEPT = join(RUNTIME_FOLDER, ".contract/verdict.json");

/**
 * What this kernel may be trusted with: as found earlier in this boot by this version, else found out now, in about a
 * second. Where something could not be tried, the next call tries again. Throws a ContractError when the test itself can't be made, and the signal's reason.
 */
export async function runContract(signal?: AbortSignal, path = KEPT): Promise<Contract> {
  const key: ContractKey = { bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(), version };
  const kept = readKeptContract(path, key);
  if (kept !== undefined) return kept;
  const contract = await tryContractHere(signal);
  if (Object.values(contract.behaviours).every(({ verdict }) => verdict !== "untested")) {
    keepContract(path, key, contract);
  }
  return contract;
}

/** Found out now, whatever was found before. */
export async function tryContractHere(signal?: AbortSignal): Promise<Contract> {
  let cgroup: ScratchCgroup;
  try {
    cgroup = new ScratchCgroup();
  } catch (error) {
    return untriedContract(`there is no cgroup to try in: ${reasonOf(error)}`);
  }
  try {
    return await tryContract({ objects: BPF_OBJECTS, cgroup, ...(signal && { signal }) });
  } finally {
    await cgroup[Symbol.asyncDispose]();
  }
}

/** 1 for the verdict that each behaviour has; no samples before there is one. */
export function contractMetrics(contract: Contract | undefined): MetricFamily {
  return {
    name: "shunt_acceleration_contract",
    help: "1 for every behaviour that acceleration depends on, with the verdict on this kernel.",
    type: "gauge",
    samples: Object.entries(contract?.behaviours ?? {}).map(([behaviour, { verdict }]) => ({
      labels: { behaviour, verdict },
      value: 1,
    })),
  };
}
