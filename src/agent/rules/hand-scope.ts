// SPDX-License-Identifier: Apache-2.0
import type { RulesBackendName } from "../../config/formats/rules.ts";
import { rulesOf } from "../../intercept/backend.ts";
import { rulesInstance } from "../../intercept/ebpf/rules-instance.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import { lastingPath } from "../lasting-netns.ts";
import { addPassthroughAddress, hasPassthroughAddress, removePassthroughAddress } from "../passthrough-address.ts";
import { readState, ScopeLock } from "../scope-lock.ts";

/**
 * What commands leave in one namespace for one workload, noted in a folder of its own under /run/shunt, so that `clean`
 * finds it. While it is held no agent can take the target, and one that has it is a reason not to begin.
 */
export class HandScope implements Disposable {
  readonly #lock: ScopeLock;
  readonly #netns: NetworkNamespace;
  readonly #workload: string;
  readonly #key: string;
  #ownsAddress: boolean;
  #kept = false;

  /** Throws a ScopeTakenError when a live agent has the target. */
  constructor(netns: NetworkNamespace, workload: string, key: string) {
    this.#netns = netns;
    this.#workload = workload;
    this.#key = key;
    this.#lock = new ScopeLock(rulesInstance(netns.inode, workload));
    try {
      const [before] = readState(this.#lock.directory)?.workloads ?? [];
      this.#ownsAddress = before?.passthroughAddress === true;
      this.#kept = before !== undefined;
      this.#lock.claim([key]);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** ::6 on lo, for the proxy to bind to as Istio's sidecars do. Whether it had to be added. */
  addAddress(): boolean {
    if (!this.#netns.hasIpv6() || hasPassthroughAddress(this.#netns)) return false;
    // Noted before it is there: whatever becomes of this process, it is found.
    this.#ownsAddress = true;
    this.note(undefined);
    addPassthroughAddress(this.#netns);
    return true;
  }

  /** Whether it was there, and ours. */
  removeAddress(): boolean {
    return this.#ownsAddress && removePassthroughAddress(this.#netns);
  }

  note(backend: RulesBackendName | undefined): void {
    const rules = backend === undefined ? undefined : rulesOf(backend);
    const trace = {
      workload: this.#workload,
      target: this.#key,
      netns: lastingPath(this.#netns),
      passthroughAddress: this.#ownsAddress,
      ...(backend === undefined ? {} : { rules: rules === undefined ? [] : [rules] }),
    };
    this.#lock.save({ workloads: [trace], cgroups: [] });
    this.#kept = true;
  }

  /** Nothing is left to be noted. */
  forget(): void {
    this.#lock.save({ workloads: [], cgroups: [] });
    this.#kept = false;
  }

  [Symbol.dispose](): void {
    if (this.#kept) this.#lock.keep();
    this.#lock[Symbol.dispose]();
  }
}
