// SPDX-License-Identifier: Apache-2.0
import { LISTENER_GROUP, LISTENER_PLACES } from "../intercept/ebpf/inbound-lookup.ts";

export interface Place {
  readonly family: 4 | 6;
  readonly index: number;
}

/**
 * Which listening socket has which place in the map of sk_lookup. A process gets half of a family's places at most: the
 * other half is for the one that takes over from it, so that there is no moment without a listener.
 */
export class ListenerPlaces {
  readonly #held = new Map<number, { readonly pid: number; readonly places: readonly Place[] }>();
  /** Known, but without a place: the kernel reaches them through the others of their reuseport group. */
  readonly #surplus = new Set<number>();

  /** Forgets sockets that no longer listen; when places are free again, those without one count as new. */
  retain(inodes: ReadonlySet<number>): void {
    const gone = [...this.#held.keys()].filter((inode) => !inodes.has(inode));
    for (const inode of gone) this.#held.delete(inode);
    if (gone.length > 0) this.#surplus.clear();
    for (const inode of this.#surplus) if (!inodes.has(inode)) this.#surplus.delete(inode);
  }

  knows(inode: number): boolean {
    return this.holds(inode) || this.#surplus.has(inode);
  }

  holds(inode: number): boolean {
    return this.#held.has(inode);
  }

  /** A place in each family that has one to spare. */
  give(inode: number, pid: number, families: readonly (4 | 6)[]): readonly Place[] {
    const places = families.flatMap((family) => {
      const index = this.#free(family, pid);
      return index === undefined ? [] : [{ family, index }];
    });
    if (places.length === 0) this.#surplus.add(inode);
    else this.#held.set(inode, { pid, places });
    return places;
  }

  /** The socket could not be put there. */
  withdraw(inode: number): void {
    this.#held.delete(inode);
  }

  #free(family: 4 | 6, pid: number): number | undefined {
    const taken = new Set<number>();
    let own = 0;
    for (const held of this.#held.values()) {
      for (const place of held.places) {
        if (place.family !== family) continue;
        taken.add(place.index);
        if (held.pid === pid) own++;
      }
    }
    if (own >= LISTENER_GROUP) return undefined;
    return Array.from({ length: LISTENER_PLACES }, (_, index) => index).find((index) => !taken.has(index));
  }
}
