// SPDX-License-Identifier: Apache-2.0
import type { Maps } from "../../bpf/generated/types.ts";
import type { EbpfInstance } from "./instance.ts";
import type { EbpfPlan } from "./plan.ts";

/** Map, key and value. */
type Entry = { [Name in "ports" | "cidrs" | "owners"]: readonly [Name, Maps[Name]["key"], Maps[Name]["value"]] }[
  | "ports"
  | "cidrs"
  | "owners"];

/**
 * The ports, CIDRs and owners of one policy number. A workload names its policy by number, so a new set is written beside
 * the old one, then the number is changed, then the old set goes: no connection sees half of each.
 */
export class PolicySet {
  readonly number: number;
  readonly #instance: EbpfInstance;
  readonly plan: EbpfPlan;
  #writtenAt = 0;

  constructor(instance: EbpfInstance, number: number, plan: EbpfPlan) {
    this.#instance = instance;
    this.number = number;
    this.plan = plan;
  }

  /** When it was last written, ms of Date.now(). */
  get writtenAt(): number {
    return this.#writtenAt;
  }

  /** What the maps hold for it. */
  entries(): readonly Entry[] {
    const policy = this.number;
    const { ports, cidrs, owners } = this.plan;
    return [
      ...ports.map((port): Entry => ["ports", { ...port, policy }, 1]),
      ...cidrs.map(({ key, covers }): Entry => ["cidrs", { ...key, policy }, covers ? 1 : 0]),
      ...owners.map(({ key, flags }): Entry => ["owners", { ...key, policy }, flags]),
    ];
  }

  write(): void {
    const entries = this.entries();
    const of = <Name extends Entry[0]>(name: Name): [Maps[Name]["key"], Maps[Name]["value"]][] =>
      entries.filter(([map]) => map === name).map(([, key, value]) => [key, value] as never);
    this.#instance.map("ports").setAll(of("ports"));
    this.#instance.map("cidrs").setAll(of("cidrs"));
    this.#instance.map("owners").setAll(of("owners"));
    this.#writtenAt = Date.now();
  }

  /** Its own entries only: the maps hold those of every workload. */
  remove(): void {
    for (const [map, key] of this.entries()) this.#instance.map(map).delete(key);
  }
}

/** Deletes whatever the maps hold for policies that are not wanted, by walking through all of them. */
export function deletePolicies(instance: EbpfInstance, unwanted: (number: number) => boolean): void {
  for (const name of ["ports", "cidrs", "owners", "interfaces"] as const) {
    const map = instance.map(name);
    for (const [key] of [...map.entries()]) if (unwanted(key.policy)) map.delete(key);
  }
}
