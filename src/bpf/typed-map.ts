// SPDX-License-Identifier: Apache-2.0
import { constants } from "node:os";
import type { NativeMap } from "../native/addon.ts";
import { check } from "../native/status.ts";
import type { Codec } from "./codec.ts";
import type { Maps } from "./generated/types.ts";
import type { MapCodec } from "./map-codec.ts";

const { ENOENT, EEXIST, EINVAL, ENOSPC, EOPNOTSUPP } = constants.errno;
/** Kernel-internal, but bpf(2) lets it out: the map type lacks the operation. */
const ENOTSUPP = 524;
/** enum of <linux/bpf.h>. */
const BPF_NOEXIST = 1;
const BATCH = 256;

/** A command the kernel, or this type of map, does not have. */
function unsupported(status: number): boolean {
  return status === -EINVAL || status === -ENOTSUPP || status === -EOPNOTSUPP;
}

/**
 * A loaded map with keys and values as its object declares them. Failures other than "no such entry" throw
 * a SystemError that names the map.
 */
export class TypedMap<Name extends keyof Maps> implements Disposable {
  readonly name: Name;
  readonly native: NativeMap;
  readonly #key: Codec<Maps[Name]["key"]>;
  readonly #value: Codec<Maps[Name]["value"]>;

  /** Closing the map closes `native`. */
  constructor(name: Name, native: NativeMap, codec: MapCodec) {
    this.name = name;
    this.native = native;
    this.#key = codec.key as Codec<Maps[Name]["key"]>;
    this.#value = codec.value as Codec<Maps[Name]["value"]>;
  }

  get(key: Maps[Name]["key"]): Maps[Name]["value"] | undefined {
    const found = this.native.lookup(encode(this.#key, key));
    return typeof found === "number" ? this.#absent(found, "bpf_map_lookup_elem") : decode(this.#value, found);
  }

  /** Creates or replaces. */
  set(key: Maps[Name]["key"], value: Maps[Name]["value"]): void {
    const status = this.native.update(encode(this.#key, key), encode(this.#value, value), 0);
    check(status, "bpf_map_update_elem", this.name);
  }

  /** Creates; false, and nothing changed, when the key is there already. */
  add(key: Maps[Name]["key"], value: Maps[Name]["value"]): boolean {
    const status = this.native.update(encode(this.#key, key), encode(this.#value, value), BPF_NOEXIST);
    if (status === -EEXIST) return false;
    check(status, "bpf_map_update_elem", this.name);
    return true;
  }

  /** Whether there was an entry to delete. */
  delete(key: Maps[Name]["key"]): boolean {
    const status = this.native.delete(encode(this.#key, key));
    if (status === -ENOENT) return false;
    check(status, "bpf_map_delete_elem", this.name);
    return true;
  }

  /**
   * Gets and deletes. Hash maps have the command since 5.14; before, it is a lookup and a deletion, between
   * which a program can change the value: the older one is returned.
   */
  take(key: Maps[Name]["key"]): Maps[Name]["value"] | undefined {
    const bytes = encode(this.#key, key);
    const taken = this.native.lookupAndDelete(bytes);
    if (typeof taken !== "number") return decode(this.#value, taken);
    if (!unsupported(taken)) return this.#absent(taken, "bpf_map_lookup_and_delete_elem");
    const found = this.native.lookup(bytes);
    if (typeof found === "number") return this.#absent(found, "bpf_map_lookup_elem");
    const status = this.native.delete(bytes);
    if (status !== -ENOENT) check(status, "bpf_map_delete_elem", this.name);
    return decode(this.#value, found);
  }

  /**
   * Every entry that is there throughout, once. Those that come or go meanwhile may or may not be seen.
   */
  *entries(): Generator<[Maps[Name]["key"], Maps[Name]["value"]]> {
    let cursor: Uint8Array | undefined;
    let count = BATCH;
    do {
      const batch = this.native.lookupBatch(cursor, count);
      if (typeof batch === "number") {
        // A hash bucket can hold more than fits; nothing has been consumed.
        if (batch === -ENOSPC) {
          count *= 2;
          continue;
        }
        if (cursor === undefined && unsupported(batch)) return yield* this.#walk();
        check(batch, "bpf_map_lookup_batch", this.name);
        return;
      }
      for (let i = 0; i < batch.count; i++)
        yield [decode(this.#key, batch.keys, i), decode(this.#value, batch.values, i)];
      cursor = batch.cursor;
      if (cursor === undefined) return;
    } while (true);
  }

  /** One entry at a time, for kernels before 5.6 and maps without batches. */
  *#walk(): Generator<[Maps[Name]["key"], Maps[Name]["value"]]> {
    // The key after a deleted one is the first: a walk beside deletions starts again and must not repeat itself.
    const seen = new Set<string>();
    let repeated = 0;
    let key = this.native.nextKey(null);
    while (typeof key !== "number") {
      const here = key;
      // Before the entry is given out, because whoever gets it may delete it.
      key = this.native.nextKey(here);
      const id = Buffer.from(here.buffer, here.byteOffset, here.byteLength).toString("latin1");
      if (seen.has(id)) {
        // More repetitions in a row than there were entries: every walk ends where somebody deletes.
        if (++repeated > 2 * seen.size + BATCH) return;
        continue;
      }
      repeated = 0;
      seen.add(id);
      const value = this.native.lookup(here);
      if (typeof value === "number") this.#absent(value, "bpf_map_lookup_elem");
      else yield [decode(this.#key, here), decode(this.#value, value)];
    }
    this.#absent(key, "bpf_map_get_next_key");
  }

  /** Creates or replaces many, by batches where the kernel has them (hash maps 5.6, LPM tries 5.14). Not atomic. */
  setAll(entries: Iterable<readonly [Maps[Name]["key"], Maps[Name]["value"]]>): void {
    const all = [...entries];
    for (let start = 0; start < all.length; start += BATCH) {
      const part = all.slice(start, start + BATCH);
      const keys = new Uint8Array(part.length * this.#key.size);
      const values = new Uint8Array(part.length * this.#value.size);
      part.forEach(([key, value], i) => {
        this.#key.encode(viewOf(keys), i * this.#key.size, key);
        this.#value.encode(viewOf(values), i * this.#value.size, value);
      });
      const status = this.native.updateBatch(keys, values, part.length, 0);
      if (unsupported(status)) for (const [key, value] of part) this.set(key, value);
      else check(status, "bpf_map_update_batch", this.name);
    }
  }

  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #absent(status: number, syscall: string): undefined {
    if (status !== -ENOENT) check(status, syscall, this.name);
    return undefined;
  }
}

function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const bytes = new Uint8Array(codec.size);
  codec.encode(viewOf(bytes), 0, value);
  return bytes;
}

function decode<T>(codec: Codec<T>, bytes: Uint8Array, index = 0): T {
  return codec.decode(viewOf(bytes), index * codec.size);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
