// SPDX-License-Identifier: Apache-2.0
/** Objects, maps and pins in the running kernel. */
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BpfObject, BpfObjectError } from "../../../src/bpf/bpf-object.ts";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import { MapMismatchError, MapPool } from "../../../src/bpf/map-pool.ts";
import { MapType } from "../../../src/bpf/map-type.ts";
import { pinAll, removePins } from "../../../src/bpf/pin-set.ts";
import { possibleCpus } from "../../../src/bpf/possible-cpus.ts";
import { VerifierError } from "../../../src/bpf/verifier-error.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, SystemError } from "../../../src/native/status.ts";
import { readMounts } from "../../../src/util/mountinfo.ts";
import { compileBpf } from "../../support/addon-fixture.ts";

const build = join(import.meta.dirname, "../../../bpf/build");
const open = (name: string): BpfObject => BpfObject.open(join(build, `${name}.bpf.o`));

describe("a loaded object", () => {
  let object: BpfObject;
  beforeAll(() => {
    object = open("connect");
    object.load();
  });
  afterAll(() => object.close());

  it("gives the same map on every call", () => {
    expect(object.map("settings")).toBe(object.map("settings"));
  });

  it("keeps a structure in an array map", () => {
    const workloads = object.map("workloads");
    const workload = {
      ...workloads.get(1),
      netns: 7n,
      flags: 3,
      outboundPort: 15001,
      failMode: "direct",
      dnsCapture: "all",
    } as NonNullable<ReturnType<typeof workloads.get>>;
    workloads.set(1, workload);
    expect(workloads.get(1)).toEqual(workload);
  });

  it("gets, adds, takes and deletes entries of a hash map", () => {
    const slots = object.map("netns_slots");
    expect(slots.get(1n)).toBeUndefined();
    expect(slots.add(1n, 10)).toBe(true);
    expect(slots.add(1n, 11)).toBe(false);
    expect(slots.take(1n)).toBe(10);
    expect(slots.take(1n)).toBeUndefined();
    expect(slots.delete(1n)).toBe(false);
  });

  it("sees each of many entries once, also while they are being deleted", () => {
    const slots = object.map("cgroup_slots");
    const all = Array.from({ length: 1000 }, (_, i): [bigint, number] => [BigInt(i), i]);
    slots.setAll(all);
    expect([...slots.entries()].sort(([, a], [, b]) => a - b)).toEqual(all);
    const seen: number[] = [];
    for (const [key, value] of slots.entries()) {
      seen.push(value);
      slots.delete(key);
    }
    expect(new Set(seen).size).toBe(1000);
    expect([...slots.entries()]).toEqual([]);
  });

  it("answers the longest prefix of a trie, for both families", () => {
    const cidrs = object.map("cidrs");
    const key = (prefixLength: number, address: string) =>
      ({ prefixLength, policy: 5, kind: "outbound-include", address }) as const;
    cidrs.setAll([
      [key(64 + 104, "10.0.0.0"), 1],
      [key(64 + 120, "10.1.2.0"), 2],
      [key(64 + 32, "fd00::"), 3],
    ]);
    expect(cidrs.get(key(192, "10.9.9.9"))).toBe(1);
    expect(cidrs.get(key(192, "10.1.2.9"))).toBe(2);
    expect(cidrs.get(key(192, "fd00:0::1"))).toBe(3);
    expect(cidrs.get(key(192, "11.0.0.1"))).toBeUndefined();
    expect([...cidrs.entries()].length).toBe(3);
  });

  it("has a value for each possible CPU in a per-CPU map", () => {
    const verdicts = object.map("verdicts");
    const before = verdicts.get(2) ?? [];
    expect(before.length).toBe(possibleCpus());
    const after = before.map((cpu, i) => ({ ...cpu, outbound: cpu.outbound.map((_, j) => BigInt(100 * i + j)) }));
    verdicts.set(2, after);
    expect(verdicts.get(2)).toEqual(after);
  });

  it("names the map and the errno of a refusal", () => {
    expect(() => object.map("workloads").set(1 << 20, object.map("workloads").get(1) as never)).toThrow(SystemError);
    expect(() => object.map("workloads").set(1 << 20, object.map("workloads").get(1) as never)).toThrow(
      /E2BIG.*workloads/,
    );
  });

  it("has no map, program or structure that it lacks", () => {
    expect(() => object.map("listeners")).toThrow(BpfObjectError);
    expect(() => object.program("no_such")).toThrow('connect has no program "no_such"');
    expect(() => object.struct("no_such" as never)).toThrow('connect has no structure "no_such"');
  });
});

describe("a pool", () => {
  it("makes two objects share their maps", () => {
    using pool = new MapPool();
    using first = open("connect");
    using second = open("inbound");
    first.load({ pool });
    second.load({ pool });
    first.map("netns_slots").set(9n, 9);
    first.map("ports").set({ policy: 1, direction: "inbound", action: "include", port: 80 }, 1);
    expect(second.map("ports").get({ policy: 1, direction: "inbound", action: "include", port: 80 })).toBe(1);
  });

  it("keeps what an extended pool adds to itself", () => {
    using pool = new MapPool();
    using first = open("connect");
    first.load({ pool });
    using extended = pool.extended();
    using second = open("inbound");
    second.load({ pool: extended });
    expect(extended.get("lookup_self")).toBeDefined();
    expect(pool.get("lookup_self")).toBeUndefined();
  });

  it("refuses a map of another shape, naming the difference", () => {
    using pool = new MapPool();
    const options = { type: MapType.Hash, name: "netns_slots", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };
    pool.add("netns_slots", check(loadAddon().createMap(options), "bpf_map_create"));
    using object = open("connect");
    expect(() => object.load({ pool })).toThrow(MapMismatchError);
    expect(() => object.load({ pool })).toThrow("map netns_slots: keySize is 4, this version needs 8");
  });
});

describe("loading", () => {
  it("says what the verifier has against a program, and keeps its log", () => {
    const bytes = compileBpf(`
      SEC("cgroup/connect4") int wild(struct bpf_sock_addr *ctx) { return *(volatile int *)((char *)ctx + 400); }
    `);
    using object = BpfObject.open(bytes, "wild");
    let caught: unknown;
    try {
      object.load();
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(VerifierError);
    expect((caught as VerifierError).message).toMatch(/^wild: invalid bpf_context access off=400/);
    expect((caught as VerifierError).log).toContain("R1");
    expect((caught as VerifierError).cause).toBeInstanceOf(SystemError);
  });

  it("leaves out programs that were not selected, and maps that were omitted", () => {
    using object = open("probe");
    const maps = object.maps().map(({ name }) => name);
    object.selectPrograms(["probe_connect4"]).omitMaps(maps);
    object.load();
    expect(object.program("probe_connect4").fd).toBeGreaterThan(2);
    expect(() => object.program("probe_connect6")).toThrow(SystemError);
    expect(() => object.nativeMap("probe_seen")).toThrow(SystemError);
  });

  it("uses the number of entries that was set", () => {
    using object = open("connect").setMaxEntries("netns_slots", 3);
    object.load();
    const info = check(object.nativeMap("netns_slots").info(), "bpf_map_get_info_by_fd");
    expect(info.maxEntries).toBe(3);
  });
});

describe("pins", () => {
  let bpffs: Bpffs;
  let parent: string;
  beforeAll(() => {
    bpffs = Bpffs.open();
    parent = join(bpffs.path, `shunt-test-${process.pid}-pins`);
    mkdirSync(parent);
  });
  afterAll(() => {
    removePins(parent);
    bpffs[Symbol.dispose]();
  });

  it("come into being together, and can be opened again", () => {
    using object = open("connect");
    object.load();
    const directory = join(parent, "complete");
    pinAll(directory, { netns_slots: object.nativeMap("netns_slots"), connect4: object.program("connect4_netns") });
    expect(readdirSync(directory).sort()).toEqual(["connect4", "netns_slots"]);
    object.map("netns_slots").set(4n, 44);
    using pool = new MapPool();
    pool.add("netns_slots", check(loadAddon().openPinnedMap(join(directory, "netns_slots")), "bpf_obj_get"));
    using again = open("connect");
    again.load({ pool });
    expect(again.map("netns_slots").get(4n)).toBe(44);
  });

  it("are not there at all when one of them fails", () => {
    using object = open("connect");
    object.load();
    const directory = join(parent, "partial");
    const before = readdirSync(parent);
    const things = { ok: object.nativeMap("settings"), bad: { pin: () => -28 } };
    expect(() => pinAll(directory, things)).toThrow(/ENOSPC/);
    expect(existsSync(directory)).toBe(false);
    expect(readdirSync(parent)).toEqual(before);
  });

  it("do not replace others", () => {
    using object = open("connect");
    object.load();
    const directory = join(parent, "taken");
    pinAll(directory, { settings: object.nativeMap("settings") });
    expect(() => pinAll(directory, { settings: object.nativeMap("settings") })).toThrow(/ENOTEMPTY|EEXIST/);
    expect(readdirSync(directory)).toEqual(["settings"]);
    expect(readdirSync(parent).filter((name) => name.startsWith("taken"))).toEqual(["taken"]);
  });
});

describe("the BPF file system", () => {
  const mounted = () => readMounts().filter(({ fileSystem }) => fileSystem === "bpf").length;

  it("is mounted as before once every user has gone", () => {
    const before = mounted();
    const first = Bpffs.open();
    const second = Bpffs.open();
    expect(second.path).toBe(first.path);
    first[Symbol.dispose]();
    expect(mounted()).toBeGreaterThan(0);
    second[Symbol.dispose]();
    expect(mounted()).toBe(before);
  });
});
