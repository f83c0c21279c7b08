// SPDX-License-Identifier: Apache-2.0
/** The probe on the running kernel. */
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readlinkSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { AttachType } from "../../../src/bpf/attach-type.ts";
import { BpfObject } from "../../../src/bpf/bpf-object.ts";
import { probeCgroupFeatures } from "../../../src/intercept/probe/cgroup-features.ts";
import { choose } from "../../../src/intercept/probe/choose.ts";
import { features } from "../../../src/intercept/probe/features.ts";
import { attachedPrograms } from "../../../src/intercept/probe/foreign-programs.ts";
import { probe } from "../../../src/intercept/probe/probe.ts";
import { ScratchCgroup } from "../../../src/intercept/probe/scratch-cgroup.ts";
import type { NativeHandle } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { run } from "../../../src/util/exec.ts";
import { findCgroup2, mountsOfType, readMounts } from "../../../src/util/mountinfo.ts";
import { compileBpf } from "../../support/addon-fixture.ts";

const objects = join(import.meta.dirname, "../../../bpf/build");
const cgroupTop = findCgroup2()?.mountPoint ?? "";
const SOCKET_FILTER = 1;
const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Everything a probe could leave behind. */
function traces() {
  const named = (path: string) => readdirSync(path).filter((name) => name.startsWith("shunt-probe"));
  return {
    cgroups: named(cgroupTop),
    pins: mountsOfType(readMounts(), "bpf").flatMap(({ mountPoint }) => named(mountPoint)),
    mounts: readMounts().length,
    fds: readdirSync("/proc/self/fd")
      .map((fd) => link(fd))
      .filter((target) => target.startsWith("net:") || target.includes("bpf")),
    programs: idsOf(oldest.program, newProgram(), (id) => loadAddon().programById(id)),
    maps: idsOf(oldest.map, newMap(), (id) => loadAddon().mapById(id)),
  };
}

/** Ids only grow: the next one the kernel gives to a program. */
function newProgram(): number {
  // r0 = 0; exit
  const instructions = Uint8Array.from([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
  const options = { type: SOCKET_FILTER, expectedAttachType: 0, name: "shunt_test", instructions, license: "GPL" };
  const { program, log } = loadAddon().loadProgram(options);
  if (!program) throw new Error(log);
  const { id } = check(program.info(), "info");
  program.close();
  return id;
}

function newMap(): number {
  const options = { type: 2, name: "shunt_test", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 };
  const map = check(loadAddon().createMap(options), "createMap");
  const { id } = check(map.info(), "info");
  map.close();
  return id;
}

interface Opened extends NativeHandle {
  info(): { readonly name: string } | number;
}

/** Those of the probe that are still there, from `first` up to `last`. */
function idsOf(first: number, last: number, open: (id: number) => Opened | number): number[] {
  return Array.from({ length: last - first }, (_, index) => first + index).filter((id) => {
    const handle = open(id);
    if (typeof handle === "number") return false;
    const info = handle.info();
    handle.close();
    if (typeof info === "number") return false;
    const { name } = info;
    return name.startsWith("probe_") || name === "shunt_probe";
  });
}

const oldest = { program: newProgram(), map: newMap() };

function link(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ""; // the directory's own fd
  }
}

describe("the probe", () => {
  it("answers every feature, finds what this kernel has, and takes less than 5 s", async () => {
    const start = performance.now();
    const results = await probe(objects);
    expect(performance.now() - start).toBeLessThan(5000 * patience);
    expect([...results.keys()]).toEqual(features.map(({ name }) => name));
    const { stdout: release } = await run("uname", ["-r"]);
    const [major = 0, minor = 0] = release.split(".").map(Number);
    // docs/kernels.md: from 5.15 on, everything that eBPF interception needs is there.
    if (major > 5 || (major === 5 && minor >= 15)) {
      const refusals = [...results].filter(([name, result]) => !result.ok && !/tables|xt-|tproxy/.test(name));
      expect(refusals).toEqual([]);
      expect(choose(results)).toMatchObject({ mode: "ebpf", tier: "A" });
    }
  });

  it("leaves nothing behind, also when several run at once", async () => {
    const before = traces();
    const [first, ...others] = await Promise.all([probe(objects), probe(objects), probe(objects)]);
    for (const other of others) expect(other).toEqual(first);
    // The kernel frees programs after a grace period.
    await expect.poll(traces, { timeout: 5000 * patience }).toEqual(before);
  });

  it("says which file is missing instead of failing when there are no objects, and still tries the rules", async () => {
    const results = await probe("/nonexistent");
    expect(results.get("cgroup-connect4")).toEqual({
      ok: false,
      reason: expect.stringMatching(/^ENOENT: .*probe\.bpf\.o/),
    });
    expect(results.get("cgroup2")).toEqual({ ok: true });
    expect(results.get("nftables")).not.toEqual(results.get("sockops"));
  });

  it("gives a missing tool as the reason", async () => {
    const path = process.env["PATH"];
    const empty = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    process.env["PATH"] = empty;
    try {
      const results = await probe(objects);
      expect(results.get("iptables-nft")).toEqual({ ok: false, reason: "program iptables-nft-restore not found" });
      expect(results.get("nftables")).toEqual({ ok: false, reason: "program nsenter not found" });
      expect(results.get("cgroup-connect4")).toEqual({
        ok: false,
        reason: "attached, but not tried: program nsenter not found",
      });
      expect(results.get("sk-lookup")).toEqual({ ok: true });
    } finally {
      process.env["PATH"] = path;
      rmSync(empty, { recursive: true });
    }
  });
});

describe("a program that loads and attaches but has no effect", () => {
  it("is refused with what was seen instead", async () => {
    const idle = (section: string, name: string) => `SEC("${section}") int ${name}(void *ctx) { return 1; }`;
    const bytes = compileBpf(
      [
        idle("cgroup/connect4", "probe_connect4"),
        idle("cgroup/connect6", "probe_connect6"),
        idle("cgroup/sendmsg4", "probe_sendmsg4"),
        idle("cgroup/sendmsg6", "probe_sendmsg6"),
        idle("cgroup/recvmsg4", "probe_recvmsg4"),
        idle("cgroup/recvmsg6", "probe_recvmsg6"),
        idle("cgroup/getpeername4", "probe_peer4"),
        idle("cgroup/getpeername6", "probe_peer6"),
        idle("cgroup/getsockopt", "probe_sockopt"),
        `struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } probe_seen SEC(".maps");`,
        `SEC("sockops") int probe_sockops(void *ctx) { __u32 k = 0; return bpf_map_lookup_elem(&probe_seen, &k) != 0; }`,
      ].join("\n"),
    );
    await using cgroup = new ScratchCgroup();
    const results = await probeCgroupFeatures(bytes, cgroup);
    const reasons = Object.fromEntries([...results].map(([name, result]) => [name, result.ok ? "ok" : result.reason]));
    expect(reasons).toMatchObject({
      "cgroup-connect4": "a connection to 127.84.0.1 was not redirected: ECONNREFUSED",
      "cgroup-recvmsg": "the sender of a datagram is 127.0.0.1, not 127.84.0.1",
      "cgroup-getpeername": "the peer of a connection is 127.0.0.1, not 127.84.0.1",
      sockops: "the program saw no connection to 127.0.0.1 begin",
    });
    expect(Object.values(reasons)).not.toContain("ok");
  });
});

describe("programs of others", () => {
  const made: string[] = [];
  const held: Disposable[] = [];
  afterEach(() => {
    for (const thing of held.splice(0).reverse()) thing[Symbol.dispose]();
    for (const path of made.splice(0).reverse()) rmdirSync(path);
  });

  function makeCgroup(path: string): string {
    mkdirSync(path);
    made.push(path);
    return path;
  }

  function attach(object: BpfObject, name: string, path: string): number {
    const fd = openSync(path, "r");
    try {
      const program = object.program(name);
      const made = check(program.link(fd, AttachType.CgroupInet4Connect), "bpf_link_create");
      held.push({ [Symbol.dispose]: () => made.close() });
      return check(program.info(), "bpf_prog_get_info_by_fd").id;
    } finally {
      closeSync(fd);
    }
  }

  it("are told with their cgroup and the order in which they run", () => {
    const object = BpfObject.open(
      compileBpf(
        ["first", "second", "third"]
          .map((name) => `SEC("cgroup/connect4") int ${name}(void *ctx) { return 1; }`)
          .join("\n"),
      ),
      "foreign",
    );
    held.push(object);
    object.load();
    const outer = makeCgroup(join(cgroupTop, `shunt-test-${process.pid}-foreign`));
    const inner = makeCgroup(join(outer, "inner"));
    const third = attach(object, "third", outer);
    const first = attach(object, "first", inner);
    const second = attach(object, "second", inner);
    const mine = new Set([first, second, third]);
    const found = attachedPrograms(inner, cgroupTop).filter(({ id }) => mine.has(id));
    expect(found.map(({ name, cgroup }) => [name, cgroup])).toEqual([
      ["first", inner],
      ["second", inner],
      ["third", outer],
    ]);
    expect(found.every(({ hook, exclusive }) => hook === "cgroup/connect4" && !exclusive)).toBe(true);
    const orders = found.map(({ order }) => order);
    expect(orders).toEqual([...orders].sort((a, b) => a - b));
    expect(new Set(orders).size).toBe(3);
    expect(attachedPrograms(inner, cgroupTop, (id) => mine.has(id)).some(({ id }) => mine.has(id))).toBe(false);
    expect(
      attachedPrograms(outer, cgroupTop)
        .filter(({ id }) => mine.has(id))
        .map(({ name }) => name),
    ).toEqual(["third"]);
  });

  it("are not looked for outside the tree", () => {
    expect(() => attachedPrograms("/tmp", cgroupTop)).toThrow(`/tmp is not below ${cgroupTop}`);
  });
});
