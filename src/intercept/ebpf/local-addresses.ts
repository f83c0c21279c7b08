// SPDX-License-Identifier: Apache-2.0
import type { TypedMap } from "../../bpf/typed-map.ts";

/**
 * The addresses of the enrolled namespaces. Workloads of one namespace share its rows, which go with the last of
 * them; rows that an earlier process left are replaced when its namespace is told again.
 */
export class LocalAddresses {
  readonly #map: TypedMap<"local_addrs">;
  readonly #owners = new Map<bigint, Set<object>>();
  /** What is in the map, so that a change costs no walk through it. */
  readonly #known = new Map<bigint, Set<string>>();

  constructor(map: TypedMap<"local_addrs">) {
    this.#map = map;
    for (const [{ netns, address }] of map.entries()) this.#of(netns).add(address);
  }

  /** `owner` wants the namespace's addresses known, and they are these. */
  set(netns: bigint, owner: object, addresses: readonly string[]): void {
    const owners = this.#owners.get(netns) ?? new Set();
    this.#owners.set(netns, owners.add(owner));
    this.#replace(netns, new Set(addresses));
  }

  release(netns: bigint, owner: object): void {
    const owners = this.#owners.get(netns);
    if (!owners?.delete(owner) || owners.size > 0) return;
    this.#owners.delete(netns);
    this.#replace(netns, new Set());
  }

  /** What the map lacks. */
  missing(netns: bigint): string[] {
    return [...(this.#known.get(netns) ?? [])].filter((address) => this.#map.get({ netns, address }) === undefined);
  }

  repair(netns: bigint): void {
    for (const address of this.missing(netns)) this.#map.set({ netns, address }, 1);
  }

  /** What nobody here has asked for is an earlier process': it goes. */
  removeOthers(): void {
    for (const netns of [...this.#known.keys()]) if (!this.#owners.has(netns)) this.#replace(netns, new Set());
  }

  #of(netns: bigint): Set<string> {
    const known = this.#known.get(netns) ?? new Set();
    this.#known.set(netns, known);
    return known;
  }

  #replace(netns: bigint, now: Set<string>): void {
    const before = this.#of(netns);
    for (const address of now) if (!before.has(address)) this.#map.set({ netns, address }, 1);
    for (const address of before) if (!now.has(address)) this.#map.delete({ netns, address });
    if (now.size > 0) this.#known.set(netns, now);
    else this.#known.delete(netns);
  }
}
