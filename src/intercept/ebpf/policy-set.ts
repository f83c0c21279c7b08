// SPDX-License-Identifier: Apache-2.0
import type { EbpfInstance } from "./instance.ts";
import type { EbpfPlan } from "./plan.ts";

/**
 * The ports, CIDRs and owners of one policy number. A workload names its policy by number, so a new set is written beside
 * the old one, then the number is changed, then the old set goes: no connection sees half of each.
 */
export class PolicySet {
  readonly number: number;
  readonly #instance: EbpfInstance;
  readonly plan: EbpfPlan;

  constructor(instance: EbpfInstance, number: number, plan: EbpfPlan) {
    this.#instance = instance;
    this.number = number;
    this.plan = plan;
  }

  write(): void {
    const policy = this.number;
    this.#instance.map("ports").setAll(this.plan.ports.map((port) => [{ ...port, policy }, 1]));
    this.#instance.map("cidrs").setAll(this.plan.cidrs.map(({ key, covers }) => [{ ...key, policy }, covers ? 1 : 0]));
    this.#instance.map("owners").setAll(this.plan.owners.map(({ key, flags }) => [{ ...key, policy }, flags]));
  }

  /** Its own entries only: the maps hold those of every workload. */
  remove(): void {
    const policy = this.number;
    const ports = this.#instance.map("ports");
    for (const port of this.plan.ports) ports.delete({ ...port, policy });
    const cidrs = this.#instance.map("cidrs");
    for (const { key } of this.plan.cidrs) cidrs.delete({ ...key, policy });
    const owners = this.#instance.map("owners");
    for (const { key } of this.plan.owners) owners.delete({ ...key, policy });
  }
}

/** Deletes whatever the maps hold for policies that are not wanted, by walking through all of them. */
export function deletePolicies(instance: EbpfInstance, unwanted: (number: number) => boolean): void {
  for (const name of ["ports", "cidrs", "owners", "interfaces"] as const) {
    const map = instance.map(name);
    for (const [key] of [...map.entries()]) if (unwanted(key.policy)) map.delete(key);
  }
}
