// SPDX-License-Identifier: Apache-2.0
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BtfType, NativeObject } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import {
  ATTACH_CONNECT4,
  compileBpf,
  inChild,
  loadObject,
  MAP_ARRAY,
  MAP_HASH,
  openObject,
  u32,
} from "../../support/addon-fixture.ts";

const SOURCE = `
enum mood { GOOD = 1, BAD = 77 };
struct key { __u32 id; __be16 port; __u16 pad; };
struct value { __u64 count; enum mood mood; unsigned int low : 3, high : 5; __u8 bytes[16]; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, struct key); __type(value, struct value); } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); } spare SEC(".maps");
volatile int counter;
SEC("cgroup/connect4") int allow(struct bpf_sock_addr *ctx) { counter++; struct key k = {}; bpf_map_lookup_elem(&table, &k); return 1; }
SEC("cgroup/connect4") int deny(struct bpf_sock_addr *ctx) { __u32 k = 0; bpf_map_lookup_elem(&spare, &k); return 0; }
`;
/** Reads what a lookup may not have found: the verifier must refuse it and say why. */
const REJECTED = `
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } values SEC(".maps");
SEC("cgroup/connect4") int fine(struct bpf_sock_addr *ctx) { return 1; }
SEC("cgroup/connect4") int broken(struct bpf_sock_addr *ctx) { __u32 k = 0; __u64 *v = bpf_map_lookup_elem(&values, &k); return *v & 1; }
`;

describe("an object file", () => {
  let bytes: Uint8Array;
  beforeAll(() => {
    bytes = compileBpf(SOURCE);
  });

  it("describes its maps and programs", () => {
    const object = openObject(bytes);
    expect(object.maps()).toContainEqual({
      name: "table",
      type: MAP_HASH,
      keySize: 8,
      valueSize: 32,
      maxEntries: 64,
      flags: 0,
      keyTypeId: expect.any(Number),
      valueTypeId: expect.any(Number),
    });
    expect(object.maps().map((map) => map.name)).toEqual(expect.arrayContaining(["table", "spare"]));
    expect(
      object
        .programs()
        .map(({ name, section, expectedAttachType, autoload }) => ({ name, section, expectedAttachType, autoload })),
    ).toEqual([
      { name: "allow", section: "cgroup/connect4", expectedAttachType: ATTACH_CONNECT4, autoload: true },
      { name: "deny", section: "cgroup/connect4", expectedAttachType: ATTACH_CONNECT4, autoload: true },
    ]);
    expect(object.programs()[0]?.instructions).toBeGreaterThan(3);
    object.close();
  });

  describe("has BTF in which", () => {
    let object: NativeObject;
    let types: readonly BtfType[];
    beforeAll(() => {
      object = openObject(bytes);
      types = object.btf();
    });
    afterAll(() => object.close());

    const typeOf = (id: number | undefined) => types[(id ?? 0) - 1];
    const table = () => object.maps().find((map) => map.name === "table");
    const named = (kind: string, name: string) => types.find((type) => type.kind === kind && type.name === name);

    it("ids count from 1 without a gap", () => {
      expect(types.length).toBeGreaterThan(20);
      expect(types.map((type) => type.id)).toEqual(types.map((_, index) => index + 1));
    });

    it("a key is a structure with offsets in bits and the typedef that tells byte order", () => {
      const key = typeOf(table()?.keyTypeId);
      expect(key).toMatchObject({ kind: "STRUCT", name: "key", size: 8 });
      expect(key?.members?.map(({ name, bitOffset, bitSize }) => [name, bitOffset, bitSize])).toEqual([
        ["id", 0, 0],
        ["port", 32, 0],
        ["pad", 48, 0],
      ]);
      expect(typeOf(key?.members?.[1]?.typeId)).toMatchObject({ kind: "TYPEDEF", name: "__be16" });
    });

    it("bit-fields have a size and arrays a length", () => {
      const value = typeOf(table()?.valueTypeId);
      expect(value?.members?.filter((member) => member.bitSize > 0)).toMatchObject([
        { name: "low", bitOffset: 96, bitSize: 3 },
        { name: "high", bitOffset: 99, bitSize: 5 },
      ]);
      expect(typeOf(value?.members?.at(-1)?.typeId)).toMatchObject({ kind: "ARRAY", length: 16 });
    });

    it("enumerations, integers, functions, sections and variables are complete", () => {
      expect(named("ENUM", "mood")).toMatchObject({
        size: 4,
        values: [
          { name: "GOOD", value: 1 },
          { name: "BAD", value: 77 },
        ],
      });
      expect(named("INT", "int")).toMatchObject({ size: 4, signed: true });
      const prototype = typeOf(named("FUNC", "allow")?.typeId);
      expect(prototype).toMatchObject({ kind: "FUNC_PROTO", members: [{ name: "ctx" }] });
      const section = named("DATASEC", ".bss");
      expect(section?.members).toMatchObject([{ name: "counter", bitOffset: 0 }]);
      expect(typeOf(section?.members?.[0]?.typeId)).toMatchObject({ kind: "VAR", name: "counter" });
    });
  });

  it("is opened and described by a user without any privilege, whose load is refused with EPERM", () => {
    const directory = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    try {
      chmodSync(directory, 0o755);
      writeFileSync(join(directory, "a.o"), bytes);
      const child = inChild(
        `const object = addon.openObject(require("fs").readFileSync(${JSON.stringify(join(directory, "a.o"))}), "a");
         const load = () => object.load(0).status;
         process.stdout.write(JSON.stringify({ maps: object.maps().length, types: object.btf().length > 20, status: load(),
           create: addon.createMap({ type: 1, name: "m", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 }), byId: addon.mapById(1) }))`,
        { uid: 65534 },
      );
      expect(child.stderr).toBe("");
      expect(JSON.parse(child.stdout)).toMatchObject({ types: true, status: -1, create: -1, byId: -1 });
      expect(errnoName(-1)).toBe("EPERM");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("loads only the programs and maps that are asked for", () => {
    const object = openObject(bytes);
    expect(object.setAutoload("deny", false)).toBe(0);
    expect(object.setAutocreate("spare", false)).toBe(0);
    expect(object.setMaxEntries("table", 7)).toBe(0);
    expect(object.load(0)).toEqual({ status: 0, log: "" });
    expect(object.program("deny")).toBe(-9);
    expect(object.map("spare")).toBe(-9);
    const table = check(object.map("table"), "map");
    expect(table.info()).toMatchObject({ name: "table", maxEntries: 7, keySize: 8 });
    const allow = check(object.program("allow"), "program");
    expect(allow.info()).toMatchObject({ name: "allow", type: 18, tag: expect.stringMatching(/^[0-9a-f]{16}$/) });
    object.close();
    // Its handles are duplicates and outlive it.
    expect(table.info()).toMatchObject({ name: "table" });
    table.close();
    allow.close();
  });

  it("uses a map that exists already", () => {
    const first = loadObject(bytes);
    const spare = check(first.map("spare"), "map");
    const second = openObject(bytes);
    expect(second.reuseMap("spare", spare)).toBe(0);
    expect(second.load(0).status).toBe(0);
    expect(spare.update(u32(1), u32(77, 0), 0)).toBe(0);
    const same = check(second.map("spare"), "map");
    expect(same.lookup(u32(1))).toEqual(u32(77, 0));
    expect(same.info()).toMatchObject({ type: MAP_ARRAY });
    for (const handle of [first, second, spare, same]) handle.close();
  });

  it("answers a rejection with the verifier's words, at every log level, and without a byte on stderr", () => {
    const rejected = compileBpf(REJECTED);
    for (const level of [0, 1, 2]) {
      const object = openObject(rejected);
      const { status, log } = object.load(level);
      expect(errnoName(status)).toBe("EACCES");
      expect(log).toMatch(/R0 invalid mem access 'map_value_or_null'/);
      object.close();
    }
  });

  it("keeps libbpf's own warning where the verifier said nothing", () => {
    const object = openObject(bytes);
    expect(object.setMaxEntries("spare", 0xffff_ffff)).toBe(0);
    const { status, log } = object.load(0);
    expect(errnoName(status)).toMatch(/^(ENOMEM|E2BIG)$/);
    expect(log).toMatch(/map 'spare'/);
    object.close();
  });

  it("gives the verifier's statistics of a success when asked", () => {
    const object = openObject(bytes);
    const { status, log } = object.load(1);
    expect(status).toBe(0);
    expect(log.match(/processed \d+ insns/g)).toHaveLength(2);
    object.close();
  });

  it("names each error: unknown names, a second load, a foreign file, an object not loaded yet", () => {
    const object = openObject(bytes);
    expect(errnoName(object.setAutoload("nobody", true))).toBe("ENOENT");
    expect(errnoName(object.setAutocreate("nobody", true))).toBe("ENOENT");
    expect(errnoName(object.setMaxEntries("nobody", 1))).toBe("ENOENT");
    expect(errnoName(object.map("nobody") as number)).toBe("ENOENT");
    expect(errnoName(object.program("allow") as number)).toBe("EBADF");
    expect(object.load(0).status).toBe(0);
    expect(errnoName(object.load(0).status)).toBe("EINVAL");
    expect(errnoName(object.setMaxEntries("table", 1))).toBe("EBUSY");
    object.close();
    expect(loadAddon().openObject(new Uint8Array(100), "zeros")).toBeLessThan(0);
    expect(loadAddon().openObject(new Uint8Array(0), "empty")).toBeLessThan(0);
  });

  it("is refused or opened, and never fatal, when it is cut anywhere", () => {
    const results: string[] = [];
    for (let length = 0; length < bytes.length; length += 97) {
      const object = loadAddon().openObject(bytes.subarray(0, length), "cut");
      results.push(typeof object === "number" ? "refused" : "opened");
      if (typeof object !== "number") object.close();
    }
    expect(results).toContain("refused");
  });
});

describe("raw instructions", () => {
  const load = (instructions: Uint8Array) =>
    loadAddon().loadProgram({
      type: 18,
      expectedAttachType: ATTACH_CONNECT4,
      name: "raw",
      instructions,
      license: "GPL",
    });

  it("load, and are refused with a log", () => {
    // r0 = 1; exit
    const good = load(Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0));
    expect(good).toMatchObject({ status: 0, log: "" });
    expect(good.program?.info()).toMatchObject({ name: "raw" });
    good.program?.close();
    const bad = load(Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0));
    expect(errnoName(bad.status)).toBe("EACCES");
    expect(bad.program).toBeUndefined();
    expect(bad.log).toContain("R0 !read_ok");
  });

  it("must be whole", () => {
    expect(() => load(new Uint8Array(7))).toThrow(TypeError);
  });
});
