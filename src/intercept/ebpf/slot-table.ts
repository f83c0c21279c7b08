// SPDX-License-Identifier: Apache-2.0
import type { Maps } from "../../bpf/generated/types.ts";
import type { TypedMap } from "../../bpf/typed-map.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { EbpfInstance } from "./instance.ts";
import { removeTree } from "./pins.ts";
import { dnsPorts } from "./plan.ts";
import { deletePolicies } from "./policy-set.ts";

export interface EnrolmentKey {
  readonly kind: "netns" | "cgroup";
  /** Namespace cookie or cgroup id. */
  readonly id: bigint;
}

/** As MAX_WORKLOADS in bpf/include/limits.h; slot 0 means "nobody". */
const CAPACITY = 1024;

/** The row of a slot that is free. */
export const NOBODY: Maps["workloads"]["value"] = {
  netns: 0n,
  proxyCgroup: 0n,
  flags: 0,
  policy: 0,
  proxyMark: 0,
  proxyMarkMask: 0,
  preserveMark: 0,
  preserveMarkMask: 0,
  outboundPort: 0,
  inboundPort: 0,
  dnsPorts: dnsPorts(),
  failMode: "deny",
  dnsCapture: "off",
};

/** Which slot of the kernel's tables belongs to which workload; read back from the maps when they are adopted. */
export class SlotTable {
  readonly #instance: EbpfInstance;
  readonly #used = new Set<number>();
  #policy = 0;

  constructor(instance: EbpfInstance) {
    this.#instance = instance;
    for (const [, slot] of this.bindings()) this.#used.add(slot);
    const inForce = new Set([...this.#used].map((slot) => instance.map("workloads").get(slot)?.policy ?? 0));
    this.#policy = Math.max(0, ...inForce);
    if (instance.adopted) this.#dropUnfinished(inForce);
  }

  /** What a process that was killed in the middle of an enrolment or a change has left and nothing refers to. */
  #dropUnfinished(inForce: ReadonlySet<number>): void {
    const { pins } = this.#instance;
    const rows = this.#instance.map("workloads");
    for (const [slot, row] of [...rows.entries()])
      if (row.policy !== 0 && !this.#used.has(slot)) rows.set(slot, NOBODY);
    for (const slot of pins.workloads()) if (!this.#used.has(slot)) removeTree(pins.workload(slot));
    deletePolicies(this.#instance, (policy) => !inForce.has(policy));
  }

  /** Every enrolled key with its slot. */
  *bindings(): Generator<[EnrolmentKey, number]> {
    for (const [id, slot] of this.#instance.map("netns_slots").entries()) yield [{ kind: "netns", id }, slot];
    for (const [id, slot] of this.#instance.map("cgroup_slots").entries()) yield [{ kind: "cgroup", id }, slot];
  }

  slotOf(key: EnrolmentKey): number | undefined {
    return this.#map(key).get(key.id);
  }

  /** Nobody is enrolled. */
  get isEmpty(): boolean {
    return this.#used.size === 0;
  }

  allocate(): number {
    for (let slot = 1; slot < CAPACITY; slot++) {
      if (this.#used.has(slot)) continue;
      this.#used.add(slot);
      return slot;
    }
    throw new ShuntError(
      "ERR_INTERCEPT_CAPACITY",
      `no more than ${CAPACITY - 1} workloads can be enrolled by one agent`,
    );
  }

  release(slot: number): void {
    this.#used.delete(slot);
  }

  /** From now on the programs find the workload. */
  bind(key: EnrolmentKey, slot: number): void {
    this.#map(key).set(key.id, slot);
  }

  unbind(key: EnrolmentKey): void {
    this.#map(key).delete(key.id);
  }

  /** Ends the enrolment that an earlier process left behind. */
  evict(key: EnrolmentKey, slot: number): void {
    const row = this.#instance.map("workloads").get(slot);
    this.unbind(key);
    if (key.kind === "cgroup") this.#instance.detachId(key.id);
    removeTree(this.#instance.pins.workload(slot));
    this.#instance.map("workloads").set(slot, NOBODY);
    if (row && row.policy !== 0) deletePolicies(this.#instance, (policy) => policy === row.policy);
    this.release(slot);
  }

  /** Numbers are not used twice, so that an entry left behind can never become somebody else's. */
  nextPolicy(): number {
    this.#policy += 1;
    return this.#policy;
  }

  #map(key: EnrolmentKey): TypedMap<"netns_slots"> | TypedMap<"cgroup_slots"> {
    return key.kind === "netns" ? this.#instance.map("netns_slots") : this.#instance.map("cgroup_slots");
  }
}
