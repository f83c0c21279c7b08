// SPDX-License-Identifier: Apache-2.0
/** Maps on a kernel without batches (before 5.6) and without look-up-and-delete (before 5.14). */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import { mapCodec } from "../../../src/bpf/map-codec.ts";
import { TypedMap } from "../../../src/bpf/typed-map.ts";
import type { NativeMap } from "../../../src/native/addon.ts";

const ENOTSUPP = 524;
const MISSING: readonly PropertyKey[] = ["lookupBatch", "updateBatch", "deleteBatch", "lookupAndDelete"];

/** The real map, without the commands that came later. */
function older(native: NativeMap): NativeMap {
  return new Proxy(native, {
    get: (target, property) => {
      if (MISSING.includes(property)) return () => -ENOTSUPP;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe("a map without the newer commands", () => {
  let object: BpfObject;
  let slots: TypedMap<"netns_slots">;
  beforeAll(() => {
    object = BpfObject.open(join(import.meta.dirname, "../../../bpf/build/connect.bpf.o"));
    const description = object.maps().find(({ name }) => name === "netns_slots");
    const codec = description && mapCodec(object.types, description);
    if (codec === undefined) throw new Error("netns_slots has no types");
    object.load();
    slots = new TypedMap("netns_slots", older(object.nativeMap("netns_slots")), codec);
  });
  afterAll(() => object.close());

  it("takes many entries and gives each once", () => {
    const all = Array.from({ length: 600 }, (_, i): [bigint, number] => [BigInt(i), i]);
    slots.setAll(all);
    expect([...slots.entries()].sort(([, a], [, b]) => a - b)).toEqual(all);
  });

  it("ends a walk, and sees nothing twice, while entries are deleted around it", () => {
    const seen: number[] = [];
    for (const [key, value] of slots.entries()) {
      seen.push(value);
      // The walk stands on this key: the next one is then the first of the map.
      if (value % 2 === 0) slots.delete(key);
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length).toBe(600);
    expect([...slots.entries()].length).toBe(300);
  });

  it("takes an entry by looking up and deleting", () => {
    expect(slots.take(1n)).toBe(1);
    expect(slots.take(1n)).toBeUndefined();
  });
});
