// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { NativeMap } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import {
  MAP_ARRAY,
  MAP_HASH,
  MAP_LPM_TRIE,
  MAP_PERCPU_HASH,
  MAP_QUEUE,
  TestBpffs,
  u32,
} from "../../support/addon-fixture.ts";

const BPF_NOEXIST = 1;
const BPF_EXIST = 2;
const BPF_F_NO_PREALLOC = 1;

describe("a map", () => {
  const open: NativeMap[] = [];
  afterEach(() => {
    for (const map of open.splice(0)) map.close();
  });

  function create(
    options: { type?: number; keySize?: number; valueSize?: number; maxEntries?: number; flags?: number } = {},
  ): NativeMap {
    const map = check(
      loadAddon().createMap({
        type: MAP_HASH,
        name: "shunt_test",
        keySize: 4,
        valueSize: 4,
        maxEntries: 1000,
        flags: 0,
        ...options,
      }),
      "bpf_map_create",
    );
    open.push(map);
    return map;
  }

  it("stores, finds, replaces, lists and deletes", () => {
    const map = create();
    expect(map.update(u32(1), u32(10), BPF_NOEXIST)).toBe(0);
    expect(map.update(u32(2), u32(20), 0)).toBe(0);
    expect(map.update(u32(1), u32(11), BPF_EXIST)).toBe(0);
    expect(map.lookup(u32(1))).toEqual(u32(11));
    const first = check(map.nextKey(null), "next");
    const second = check(map.nextKey(first), "next");
    expect([first, second]).toEqual(expect.arrayContaining([u32(1), u32(2)]));
    expect(errnoName(map.nextKey(second) as number)).toBe("ENOENT");
    expect(map.lookupAndDelete(u32(2))).toEqual(u32(20));
    expect(map.delete(u32(1))).toBe(0);
    expect(errnoName(map.nextKey(null) as number)).toBe("ENOENT");
  });

  it("gives fresh bytes that a later call does not change", () => {
    const map = create();
    map.update(u32(1), u32(10), 0);
    const before = map.lookup(u32(1));
    map.update(u32(1), u32(99), 0);
    map.lookup(u32(1));
    expect(before).toEqual(u32(10));
  });

  it("works on views into larger buffers", () => {
    const map = create();
    const buffer = Buffer.alloc(64, 0xff);
    buffer.writeUInt32LE(5, 20);
    buffer.writeUInt32LE(50, 33);
    expect(map.update(buffer.subarray(20, 24), buffer.subarray(33, 37), 0)).toBe(0);
    expect(map.lookup(u32(5))).toEqual(u32(50));
  });

  it("names each error", () => {
    const map = create({ maxEntries: 1 });
    expect(errnoName(map.lookup(u32(9)) as number)).toBe("ENOENT");
    expect(errnoName(map.delete(u32(9)))).toBe("ENOENT");
    expect(errnoName(map.lookupAndDelete(u32(9)) as number)).toBe("ENOENT");
    expect(errnoName(map.update(u32(1), u32(1), BPF_EXIST))).toBe("ENOENT");
    expect(map.update(u32(1), u32(1), 0)).toBe(0);
    expect(errnoName(map.update(u32(1), u32(1), BPF_NOEXIST))).toBe("EEXIST");
    expect(errnoName(map.update(u32(2), u32(2), 0))).toBe("E2BIG");
    expect(errnoName(map.update(u32(1), u32(1), 77))).toBe("EINVAL");
    expect(errnoName(create({ type: MAP_ARRAY, maxEntries: 1 }).delete(u32(0)))).toBe("EINVAL");
    expect(
      errnoName(
        loadAddon().createMap({
          type: MAP_HASH,
          name: "bad",
          keySize: 0,
          valueSize: 4,
          maxEntries: 1,
          flags: 0,
        }) as number,
      ),
    ).toBe("EINVAL");
    expect(errnoName(loadAddon().mapById(0xffff_fff0) as number)).toBe("ENOENT");
    expect(errnoName(loadAddon().openPinnedMap("/nonexistent") as number)).toBe("ENOENT");
    expect(errnoName(loadAddon().mapFromFd(-1) as number)).toBe("EBADF");
  });

  it("refuses keys and values of another length, other types, and numbers out of range", () => {
    const map = create();
    expect(() => map.lookup(new Uint8Array(3))).toThrow(new TypeError("key must be 4 bytes long, not 3"));
    expect(() => map.update(u32(1), new Uint8Array(5), 0)).toThrow(new TypeError("value must be 4 bytes long, not 5"));
    expect(() => map.lookup(new Uint16Array(2) as unknown as Uint8Array)).toThrow(
      new TypeError("key must be a Uint8Array"),
    );
    expect(() => map.lookup("abcd" as unknown as Uint8Array)).toThrow(TypeError);
    expect(() => map.update(u32(1), u32(1), -1)).toThrow(TypeError);
    expect(() => map.update(u32(1), u32(1), 1.5)).toThrow(TypeError);
    expect(() => map.updateBatch(u32(1, 2), u32(1), 2, 0)).toThrow(new TypeError("values must be 8 bytes long, not 4"));
    expect(() => map.pin("a\0b")).toThrow(TypeError);
  });

  it("takes and gives batches, and the last one ends the walk", () => {
    const map = create({ maxEntries: 5000 });
    const numbers = Array.from({ length: 3000 }, (_, index) => index);
    expect(map.updateBatch(u32(...numbers), u32(...numbers.map((n) => n * 2)), numbers.length, 0)).toBe(0);
    const seen = new Map<number, number>();
    let cursor: Uint8Array | undefined;
    let batches = 0;
    do {
      const batch = check(map.lookupBatch(cursor, 500), "lookup_batch");
      const keys = new Uint32Array(batch.keys.buffer);
      const values = new Uint32Array(batch.values.buffer);
      expect([keys.length, values.length]).toEqual([batch.count, batch.count]);
      keys.forEach((key, index) => seen.set(key, values[index] ?? -1));
      cursor = batch.cursor;
      batches++;
    } while (cursor !== undefined);
    expect(batches).toBeGreaterThan(5);
    expect(seen.size).toBe(3000);
    expect([...seen].every(([key, value]) => value === key * 2)).toBe(true);
    expect(map.deleteBatch(u32(...numbers), numbers.length)).toBe(0);
    expect(map.lookupBatch(undefined, 10)).toEqual({ keys: u32(), values: u32(), count: 0, cursor: undefined });
    expect(errnoName(map.deleteBatch(u32(1), 1))).toBe("ENOENT");
    expect(errnoName(map.lookupBatch(undefined, 0xffff_ffff) as number)).toBe("E2BIG");
  });

  it("has one value for each possible CPU in a per-CPU map, each rounded up to eight bytes", () => {
    const { possibleCpus } = loadAddon();
    const map = create({ type: MAP_PERCPU_HASH, valueSize: 12 });
    const values = new Uint8Array(16 * possibleCpus);
    for (let cpu = 0; cpu < possibleCpus; cpu++) values.fill(cpu + 1, cpu * 16, cpu * 16 + 12);
    expect(map.update(u32(1), values, 0)).toBe(0);
    expect(map.lookup(u32(1))).toEqual(values);
    const batch = check(map.lookupBatch(undefined, 10), "lookup_batch");
    expect(batch).toMatchObject({ count: 1, values });
    expect(() => map.update(u32(1), new Uint8Array(12), 0)).toThrow(TypeError);
  });

  it("finds the longest prefix in a trie", () => {
    const map = create({ type: MAP_LPM_TRIE, keySize: 8, flags: BPF_F_NO_PREALLOC });
    const key = (bits: number, ...bytes: number[]) => Uint8Array.from([...u32(bits), ...bytes]);
    map.update(key(8, 10, 0, 0, 0), u32(8), 0);
    map.update(key(16, 10, 1, 0, 0), u32(16), 0);
    expect(map.lookup(key(32, 10, 1, 2, 3))).toEqual(u32(16));
    expect(map.lookup(key(32, 10, 2, 2, 3))).toEqual(u32(8));
    expect(errnoName(map.lookup(key(32, 11, 0, 0, 1)) as number)).toBe("ENOENT");
  });

  it("has no key in a queue", () => {
    const map = create({ type: MAP_QUEUE, keySize: 0 });
    map.update(new Uint8Array(0), u32(1), 0);
    map.update(new Uint8Array(0), u32(2), 0);
    expect(map.lookup(new Uint8Array(0))).toEqual(u32(1));
    expect(map.lookupAndDelete(new Uint8Array(0))).toEqual(u32(1));
    expect(map.lookupAndDelete(new Uint8Array(0))).toEqual(u32(2));
  });

  it("is found again by id, by descriptor and by pin, and is the same map", () => {
    const map = create();
    const bpffs = new TestBpffs();
    try {
      const path = join(bpffs.path, "map");
      expect(map.pin(path)).toBe(0);
      expect(errnoName(map.pin(path))).toBe("EEXIST");
      expect(errnoName(map.pin("/tmp/shunt-test-not-bpffs"))).toBe("EPERM");
      const id = check(map.info(), "info").id;
      const others = [loadAddon().openPinnedMap(path), loadAddon().mapById(id), loadAddon().mapFromFd(map.fd)].map(
        (other) => check(other, "open"),
      );
      open.push(...others);
      map.update(u32(1), u32(42), 0);
      for (const other of others) {
        expect(other.info()).toEqual(map.info());
        expect(other.lookup(u32(1))).toEqual(u32(42));
      }
      expect(new Set([map, ...others].map((other) => other.fd)).size).toBe(4);
      expect(errnoName(loadAddon().openPinnedProgram(path) as number)).toBe("EINVAL");
      expect(errnoName(loadAddon().openPinnedLink(path) as number)).toBe("EINVAL");
    } finally {
      bpffs.remove();
    }
  });

  it("is not made from a descriptor of something else", () => {
    const fd = openSync("/dev/null", "r");
    expect(errnoName(loadAddon().mapFromFd(fd) as number)).toBe("EINVAL");
    closeSync(fd);
  });
});
