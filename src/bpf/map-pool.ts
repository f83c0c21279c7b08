// SPDX-License-Identifier: Apache-2.0
import type { MapDescription, NativeMap } from "../native/addon.ts";
import { check } from "../native/status.ts";
import { ShuntError } from "../util/shunt-error.ts";

/** A map that was there before (pinned by another version) does not have the shape this object declares. */
export class MapMismatchError extends ShuntError<"ERR_BPF_MAP_MISMATCH"> {}

/** Maps that several objects share by name. Owns the handles added to it, not those of the pool it extends. */
export class MapPool implements Disposable {
  readonly #maps = new Map<string, NativeMap>();
  readonly #base: MapPool | undefined;

  constructor(base?: MapPool) {
    this.#base = base;
  }

  /** A pool that sees these maps too and keeps what is added to itself. */
  extended(): MapPool {
    return new MapPool(this);
  }

  get(name: string): NativeMap | undefined {
    return this.#maps.get(name) ?? this.#base?.get(name);
  }

  /** Takes the handle over; one of the same name that was added before is closed. */
  add(name: string, map: NativeMap): void {
    const before = this.#maps.get(name);
    if (before !== map) before?.close();
    this.#maps.set(name, map);
  }

  /**
   * The pool's map for a declaration. Throws a MapMismatchError when type, sizes or flags differ; the
   * number of entries may, it is set at run time.
   */
  matching(declared: MapDescription): NativeMap | undefined {
    const map = this.get(declared.name);
    if (map === undefined) return undefined;
    const actual = check(map.info(), "bpf_map_get_info_by_fd", declared.name);
    for (const field of ["type", "keySize", "valueSize", "flags"] as const) {
      if (actual[field] === declared[field]) continue;
      throw new MapMismatchError(
        "ERR_BPF_MAP_MISMATCH",
        `map ${declared.name}: ${field} is ${actual[field]}, this version needs ${declared[field]}`,
      );
    }
    return map;
  }

  close(): void {
    for (const map of this.#maps.values()) map.close();
    this.#maps.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
