// SPDX-License-Identifier: Apache-2.0
/** Sockets of shunt-contract, with the programs of the contract or with none. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BehaviourName } from "../../src/accelerate/contract/behaviours.ts";
import { ContractPrograms } from "../../src/accelerate/contract/contract-programs.ts";
import { type CheckResult, runChecks } from "../../src/accelerate/contract/run-checks.ts";
import { ScratchCgroup } from "../../src/intercept/probe/scratch-cgroup.ts";
import { ScratchNetns } from "../../src/intercept/probe/scratch-netns.ts";

export const CONTRACT_OBJECTS = join(import.meta.dirname, "../../bpf/build");

export class ContractBed implements AsyncDisposable {
  readonly cgroup = new ScratchCgroup();
  readonly #netns = new ScratchNetns();

  /** On plain TCP, with the fault if there is one. */
  plain(names: readonly BehaviourName[], fault = "none"): Promise<Map<BehaviourName, CheckResult>> {
    const setting = { netns: this.#netns.path, cgroup: this.cgroup.path };
    return runChecks(names, setting, { args: ["--steering", "none", "--fault", fault] });
  }

  /** Under the programs, which are gone afterwards. */
  async programmed(
    names: readonly BehaviourName[],
    args: readonly string[] = [],
    streamVerdict = false,
  ): Promise<Map<BehaviourName, CheckResult>> {
    const bytes = readFileSync(join(CONTRACT_OBJECTS, "contract.bpf.o"));
    using programs = new ContractPrograms(bytes, this.cgroup.fd, streamVerdict);
    const setting = { netns: this.#netns.path, cgroup: this.cgroup.path, maps: programs };
    return await runChecks(names, setting, { args });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#netns[Symbol.dispose]();
    await this.cgroup[Symbol.asyncDispose]();
  }
}
