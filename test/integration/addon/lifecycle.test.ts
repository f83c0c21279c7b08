// SPDX-License-Identifier: Apache-2.0
import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NativeHandle } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import {
  ATTACH_CONNECT4,
  addonPath,
  compileBpf,
  eventually,
  inChild,
  loadObject,
  openFds,
  patience,
  TestCgroup,
  u32,
} from "../../support/addon-fixture.ts";

const SOURCE = `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } numbers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");
SEC("cgroup/connect4") int small(struct bpf_sock_addr *ctx) { __u32 k = 0; return bpf_map_lookup_elem(&numbers, &k) && !bpf_ringbuf_query(&events, 0); }
`;

describe("the life of handles", () => {
  let directory: string;
  let objectPath: string;
  let cgroup: TestCgroup;
  let cgroupFd: number;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-`));
    objectPath = join(directory, "small.o");
    writeFileSync(objectPath, compileBpf(SOURCE));
    cgroup = new TestCgroup("life");
    cgroupFd = openSync(cgroup.path, "r");
  });
  afterAll(() => {
    closeSync(cgroupFd);
    cgroup.remove();
    rmSync(directory, { recursive: true });
  });

  /** CommonJS that opens one of every kind of handle, all of them doing something. */
  const openEverything = () => `
    const fs = require("fs");
    const object = addon.openObject(fs.readFileSync(${JSON.stringify(objectPath)}), "small");
    if (object.load(0).status < 0) throw new Error("load");
    const program = object.program("small"), map = object.map("numbers"), events = object.map("events");
    const link = program.link(fs.openSync(${JSON.stringify(cgroup.path)}), ${ATTACH_CONNECT4});
    const netns = addon.newNetns(true);
    const ring = addon.ringBuffer(events, () => {}), watcher = addon.watchAddresses(netns, () => {});
    const listener = addon.listen({ address: "127.0.0.1", port: 0, type: "stream", backlog: 0, netns });
    const connect = () => addon.connectSocket(addon.bindSocket({ address: "127.0.0.1", port: 1, netns }), "127.0.0.1", addon.localAddress(listener).port, () => {});
    const connects = [connect(), connect(), connect()];
    if ([link, ring, watcher, ...connects].some((handle) => typeof handle === "number")) throw new Error("open");
  `;

  it(
    "leaks neither descriptors nor memory in 10,000 rounds of load, attach and close",
    () => {
      const child = inChild(
        `const fs = require("fs");
       const bytes = fs.readFileSync(${JSON.stringify(objectPath)});
       const cgroup = fs.openSync(${JSON.stringify(cgroup.path)});
       const fds = () => fs.readdirSync("/proc/self/fd").length;
       const key = new Uint8Array(4), value = new Uint8Array(8);
       function round() {
         const object = addon.openObject(bytes, "small");
         if (object.load(0).status < 0) throw new Error("load");
         const program = object.program("small");
         const link = program.link(cgroup, ${ATTACH_CONNECT4});
         const map = object.map("numbers");
         if (map.update(key, value, 0) < 0 || map.lookup(key).length !== 8) throw new Error("map");
         const events = object.map("events");
         const ring = addon.ringBuffer(events, () => {});
         for (const handle of [ring, events, map, link, program, object]) handle.close();
       }
       const measure = () => { gc(); gc(); return { fds: fds(), rss: process.memoryUsage().rss }; };
       (async () => {
         let before;
         for (let i = 0; i < 11000; i++) {
           if (i === 1000) before = measure();
           round();
           // uv_close ends in the loop.
           if (i % 100 === 0) await new Promise(setImmediate);
         }
         await new Promise(setImmediate);
         process.stdout.write(JSON.stringify({ before, after: measure() }));
       })();`,
        { flags: ["--expose-gc"], timeoutMs: 110_000 },
      );
      expect(child).toMatchObject({ status: 0, stderr: "" });
      const { before, after } = JSON.parse(child.stdout);
      expect(after.fds).toBe(before.fds);
      // 10,000 rounds that lost one page each would be 40 MB.
      expect(after.rss - before.rss).toBeLessThan(8 * 1024 * 1024);
    },
    120_000 * patience,
  );

  it("are closed by the garbage collector when forgotten", () => {
    const child = inChild(
      `const fds = () => require("fs").readdirSync("/proc/self/fd").length;
       const before = fds();
       for (let i = 0; i < 500; i++) addon.createMap({ type: 1, name: "m", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 });
       const open = fds();
       gc();
       setImmediate(() => setImmediate(() => process.stdout.write(JSON.stringify([open - before, fds() - before]))));`,
      { flags: ["--expose-gc"] },
    );
    expect(child).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(child.stdout)).toEqual([500, 0]);
  });

  it("throw ERR_HANDLE_CLOSED when used after close, in every method and property", () => {
    const object = loadObject(compileBpf(SOURCE));
    const program = check(object.program("small"), "program");
    const map = check(object.map("numbers"), "map");
    const link = check(program.link(cgroupFd, ATTACH_CONNECT4), "link");
    const handles: NativeHandle[] = [object, program, map, link];
    for (const handle of handles) {
      expect(handle.closed).toBe(false);
      handle.close();
      handle.close();
      expect(handle.closed).toBe(true);
      const names = Object.getOwnPropertyNames(Object.getPrototypeOf(handle)).filter(
        (name) => !["constructor", "close", "closed"].includes(name),
      );
      expect(names.length).toBeGreaterThan(3);
      for (const name of names) {
        const use = () => {
          const member = (handle as unknown as Record<string, unknown>)[name];
          (member as () => unknown).call(handle);
        };
        expect(use, name).toThrow(
          expect.objectContaining({ code: "ERR_HANDLE_CLOSED", message: expect.stringContaining("closed") }),
        );
      }
    }
    const other = loadObject(compileBpf(SOURCE));
    const live = check(other.program("small"), "program");
    const liveLink = check(live.link(cgroupFd, ATTACH_CONNECT4), "link");
    expect(() => liveLink.update(program)).toThrow(expect.objectContaining({ code: "ERR_HANDLE_CLOSED" }));
    for (const handle of [liveLink, live, other]) handle.close();
  });

  it("cannot be made, mixed up or borrowed by a script", () => {
    const map = check(
      loadAddon().createMap({ type: 1, name: "m", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 }),
      "create",
    );
    const object = loadObject(compileBpf(SOURCE));
    const prototype = Object.getPrototypeOf(map);
    expect(() => new prototype.constructor()).toThrow(new TypeError("illegal constructor"));
    for (const stranger of [object, {}, Object.create(prototype), null, 1]) {
      expect(() => prototype.lookup.call(stranger, u32(1))).toThrow(TypeError);
      expect(() => Object.getOwnPropertyDescriptor(prototype, "fd")?.get?.call(stranger)).toThrow(TypeError);
      expect(() => prototype.close.call(stranger)).toThrow(TypeError);
    }
    expect(map.closed || object.closed).toBe(false);
    map.close();
    object.close();
  });

  it("do not keep a process from ending, by itself, by exit or by an exception", () => {
    const ends = [
      ["ring.unref(); watcher.unref(); for (const c of connects) c.cancel();", 0],
      ["process.exit(0);", 0],
      ["setTimeout(() => process.exit(7), 10);", 7],
      ["setImmediate(() => { throw new Error('planned'); });", 1],
    ] as const;
    for (const [end, status] of ends) {
      const started = Date.now();
      const child = inChild(openEverything() + end);
      expect(child).toMatchObject({ status, signal: null });
      expect(Date.now() - started).toBeLessThan(5000 * patience);
    }
  });

  it("work in worker threads, and all are closed with the thread, however it ends", async () => {
    const before = openFds();
    const code = `const addon = require(${JSON.stringify(addonPath)}); ${openEverything()} require("worker_threads").parentPort.postMessage(map.info());`;
    const ends: Record<string, string> = {
      "by itself": "ring.close(); watcher.close(); for (const c of connects) c.cancel();",
      "by process.exit": "process.exit(0);",
      "by an exception": "throw new Error('planned');",
      "by terminate": "",
      "by terminate while it computes": "for (;;) addon.interfaceAddresses(netns);",
    };
    for (const [how, end] of Object.entries(ends)) {
      const worker = new Worker(code + end, { eval: true });
      const exited = new Promise<number>((resolve) => worker.once("exit", resolve));
      worker.on("error", () => {});
      const info = await new Promise((resolve) => worker.once("message", resolve));
      expect(info, how).toMatchObject({ name: "numbers" });
      if (how.includes("terminate")) await worker.terminate();
      await exited;
    }
    // Plain descriptors (namespace, sockets, cgroup) are the script's; native handles are ours: object (map,
    // map, program, BTF), program, maps, link, ring's epoll, netlink.
    const perWorkerPlain = 6;
    await eventually("native handles closed", () => openFds() <= before + Object.keys(ends).length * perWorkerPlain);
  });

  it.each(["terminate", "process.exit", "an exception"])(
    "of connects under way take their descriptors with a thread that ends by %s",
    async (how) => {
      const addon = loadAddon();
      const netns = check(addon.newNetns(true), "newNetns");
      const listener = check(
        addon.listen({ address: "127.0.0.1", port: 0, type: "stream", backlog: 0, netns }),
        "listen",
      );
      const { port } = check(addon.localAddress(listener), "getsockname");
      const before = openFds();
      const ends: Record<string, string> = {
        "process.exit": "process.exit(0)",
        "an exception": "throw new Error('planned')",
      };
      // One finds room in the queue and is reported; a cancelled one stays the script's, which closes it.
      const worker = new Worker(
        `const addon = require(${JSON.stringify(addonPath)});
         const { netns, port } = require("worker_threads").workerData;
         let answers = 0;
         const start = () => {
           const fd = addon.bindSocket({ address: "127.0.0.1", port, netns });
           const connect = addon.connectSocket(fd, "127.0.0.1", port, () => { answers++; addon.closeFd(fd); });
           if (typeof connect === "number") throw new Error(String(connect));
           return { fd, connect };
         };
         for (let i = 0; i < 20; i++) start();
         const { fd, connect } = start();
         connect.cancel();
         addon.closeFd(fd);
         const fds = require("fs").readdirSync("/proc/self/fd").length;
         setImmediate(() => setImmediate(() => {
           require("worker_threads").parentPort.postMessage({ fds, answers });
           setImmediate(() => { ${ends[how] ?? ""} });
         }));`,
        { eval: true, workerData: { netns, port } },
      );
      const exited = new Promise((resolve) => worker.once("exit", resolve));
      worker.on("error", () => {});
      const { fds, answers } = await new Promise<{ fds: number; answers: number }>((resolve) =>
        worker.once("message", resolve),
      );
      expect(fds).toBeGreaterThan(before + 20);
      expect(answers).toBeLessThan(5);
      if (how === "terminate") await worker.terminate();
      await exited;
      await eventually("the descriptors are closed", () => openFds() === before);
      for (const fd of [listener, netns]) addon.closeFd(fd);
    },
  );

  it("share a map between threads by its descriptor", async () => {
    const map = check(
      loadAddon().createMap({ type: 1, name: "shared", keySize: 4, valueSize: 4, maxEntries: 8, flags: 0 }),
      "create",
    );
    const worker = new Worker(
      `const addon = require(${JSON.stringify(addonPath)}); const { workerData, parentPort } = require("worker_threads");
       const map = addon.mapFromFd(workerData); map.update(new Uint8Array(4), Uint8Array.of(1, 2, 3, 4), 0); map.close(); parentPort.postMessage("done");`,
      { eval: true, workerData: map.fd },
    );
    await new Promise((resolve) => worker.once("exit", resolve));
    expect(map.lookup(new Uint8Array(4))).toEqual(Uint8Array.of(1, 2, 3, 4));
    map.close();
  });

  it("survive many workers that come and go at once, watchers open", async () => {
    const code = `const addon = require(${JSON.stringify(addonPath)}); ${openEverything()} require("worker_threads").parentPort.postMessage(0);`;
    for (let round = 0; round < 5; round++) {
      const workers = Array.from({ length: 6 }, () => new Worker(code, { eval: true }));
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    expect(loadAddon().possibleCpus).toBeGreaterThan(0);
  });

  it("belong to the copy of the addon that made them when it is loaded from two paths", () => {
    const copy = join(directory, "copy.node");
    copyFileSync(addonPath, copy);
    const child = inChild(`
      const assert = require("assert");
      const other = require(${JSON.stringify(copy)});
      const options = { type: 27, name: "m", keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 };
      const mine = addon.createMap(options), theirs = other.createMap(options);
      const bytes = require("fs").readFileSync(${JSON.stringify(objectPath)});
      for (const each of [addon, other, addon]) {
        const object = each.openObject(bytes, "o");
        object.setMaxEntries("numbers", 0xffffffff);
        const { status, log } = object.load(0);
        assert(status < 0 && log.includes("numbers"), log);
      }
      assert.throws(() => addon.ringBuffer(theirs, () => {}), TypeError);
      assert.throws(() => other.ringBuffer(mine, () => {}), TypeError);
      const a = addon.ringBuffer(mine, () => {}), b = other.ringBuffer(theirs, () => {});
      a.close(); assert(!b.closed); b.close();
      process.stdout.write("both");`);
    expect(child).toMatchObject({ status: 0, stdout: "both", stderr: "" });
  });
});
