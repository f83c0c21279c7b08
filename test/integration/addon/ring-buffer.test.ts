// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { connect } from "node:net";
import { setImmediate } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { NativeLink, NativeMap, NativeObject, NativeWatcher } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import {
  ATTACH_CONNECT4,
  compileBpf,
  eventually,
  inChild,
  loadObject,
  MAP_HASH,
  TestCgroup,
} from "../../support/addon-fixture.ts";

/** A record of 4 bytes for each connect; a connect to port 2 makes 5000 of them, to port 3 one of 1000 bytes. */
const SOURCE = `
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } events SEC(".maps");
static __always_inline void send(__u32 number) { bpf_ringbuf_output(&events, &number, sizeof(number), 0); }
SEC("cgroup/connect4") int observe(struct bpf_sock_addr *ctx) {
  __u32 port = bpf_ntohs(ctx->user_port);
  if (port == 2) {
    for (int i = 0; i < 5000; i++) send(i);
  } else if (port == 3) {
    __u8 *big = bpf_ringbuf_reserve(&events, 1000, 0);
    if (big) { big[0] = 1; big[999] = 9; bpf_ringbuf_submit(big, 0); }
  } else {
    send(port);
  }
  return 0;
}
`;

describe("a ring buffer", () => {
  let object: NativeObject;
  let events: NativeMap;
  let link: NativeLink;
  let cgroup: TestCgroup;
  let cgroupFd: number;
  const watchers: NativeWatcher[] = [];

  beforeAll(() => {
    object = loadObject(compileBpf(SOURCE));
    events = check(object.map("events"), "map");
    cgroup = new TestCgroup("ring");
    cgroupFd = openSync(cgroup.path, "r");
    const program = check(object.program("observe"), "program");
    link = check(program.link(cgroupFd, ATTACH_CONNECT4), "link");
    program.close();
    cgroup.enter();
  });
  afterEach(() => {
    for (const watcher of watchers.splice(0)) watcher.close();
  });
  afterAll(() => {
    for (const handle of [link, events, object]) handle.close();
    closeSync(cgroupFd);
    cgroup.remove();
  });

  /** Runs the program; it refuses the connect, so nothing leaves. */
  const trigger = (port: number) =>
    new Promise<void>((resolve) => {
      connect(port, "127.0.0.1").on("error", () => resolve());
    });
  const watch = (onRecord: (record: Uint8Array) => void): NativeWatcher => {
    const watcher = check(loadAddon().ringBuffer(events, onRecord), "ring_buffer__new");
    watchers.push(watcher);
    return watcher;
  };
  const number = (record: Uint8Array) => new DataView(record.buffer, record.byteOffset).getUint32(0, true);

  it("delivers each record through the loop", async () => {
    const seen: number[] = [];
    watch((record) => seen.push(number(record)));
    for (const port of [11, 12, 13]) await trigger(port);
    await eventually("three records", () => seen.length === 3);
    expect(seen).toEqual([11, 12, 13]);
  });

  it("delivers what was written before it was opened", async () => {
    await trigger(21);
    const seen: number[] = [];
    watch((record) => seen.push(number(record)));
    await eventually("the record", () => seen.length > 0);
    expect(seen).toEqual([21]);
  });

  it("keeps order through thousands at once and lets the loop turn in between", async () => {
    const seen: number[] = [];
    let turns = 0;
    watch((record) => seen.push(number(record)));
    await trigger(2);
    while (seen.length < 5000 && turns < 10_000) {
      await setImmediate();
      turns++;
    }
    expect(seen).toEqual(Array.from({ length: 5000 }, (_, index) => index));
    expect(turns).toBeGreaterThan(2);
  });

  it("gives records of any size as a view that is only valid during the call", async () => {
    const sizes: number[] = [];
    watch((record) => {
      sizes.push(record.length);
      if (record.length === 1000) expect([record[0], record[999]]).toEqual([1, 9]);
    });
    await trigger(31);
    await trigger(3);
    await trigger(32);
    await eventually("three records", () => sizes.length === 3);
    expect(sizes).toEqual([4, 1000, 4]);
  });

  it("may be closed inside its callback, and twice; nothing comes afterwards", async () => {
    let count = 0;
    const watcher = watch(() => {
      count++;
      watcher.close();
    });
    await trigger(2);
    await eventually("one record", () => count > 0);
    await setImmediate();
    watcher.close();
    expect(watcher.closed).toBe(true);
    expect(count).toBe(1);
    expect(() => watcher.unref()).toThrow(expect.objectContaining({ code: "ERR_HANDLE_CLOSED" }));
    // The rest of the 5000 is still there for the next reader.
    const rest: number[] = [];
    watch((record) => rest.push(number(record)));
    await eventually("the rest", () => rest.length === 4999);
  });

  it("is an uncaughtException when its callback throws, whatever is thrown, and goes on", () => {
    const child = inChild(`
      const assert = require("assert");
      const ring = addon.createMap({ type: 27, name: "r", keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 });
      // r0 = ringbuf_output(map, fp-8, 8, 0), twice; exit
      const map = Buffer.from([0x18, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
      map.writeInt32LE(ring.fd, 4);
      const output = [map, Buffer.from([0xbf, 0xa2, 0, 0, 0, 0, 0, 0, 0x07, 2, 0, 0, 0xf8, 0xff, 0xff, 0xff,
        0xb7, 3, 0, 0, 8, 0, 0, 0, 0xb7, 4, 0, 0, 0, 0, 0, 0, 0x85, 0, 0, 0, 130, 0, 0, 0])];
      const code = Buffer.concat([Buffer.from([0x7a, 0x0a, 0xf8, 0xff, 5, 0, 0, 0]), ...output, ...output,
        Buffer.from([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])]);
      const { program, status, log } = addon.loadProgram({ type: 1, expectedAttachType: 0, name: "p", instructions: code, license: "GPL" });
      assert.strictEqual(status, 0, log);
      const caught = [];
      process.on("uncaughtException", (error) => caught.push(error));
      let calls = 0;
      const watcher = addon.ringBuffer(ring, () => { calls++; if (calls === 2) watcher.close(); throw null; });
      program.testRun({ data: new Uint8Array(14) });
      process.on("exit", () => process.stdout.write(JSON.stringify({ caught, calls })));
    `);
    expect(child).toMatchObject({ status: 0, stderr: "" });
    expect(JSON.parse(child.stdout)).toEqual({ caught: [null, null], calls: 2 });
  });

  it("lets the process end once it is unreferenced", () => {
    const child = inChild(`
      const ring = addon.createMap({ type: 27, name: "r", keySize: 0, valueSize: 0, maxEntries: 4096, flags: 0 });
      const watcher = addon.ringBuffer(ring, () => {});
      watcher.unref(); watcher.ref(); watcher.unref();`);
    expect(child).toMatchObject({ status: 0, stderr: "" });
  });

  it("is refused for another kind of map and for something that is no map", () => {
    const map = check(
      loadAddon().createMap({ type: MAP_HASH, name: "m", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 }),
      "create",
    );
    expect(errnoName(loadAddon().ringBuffer(map, () => {}) as number)).toBe("EINVAL");
    map.close();
    expect(() => loadAddon().ringBuffer(map, () => {})).toThrow(expect.objectContaining({ code: "ERR_HANDLE_CLOSED" }));
    expect(() => loadAddon().ringBuffer({} as NativeMap, () => {})).toThrow(TypeError);
    expect(() => loadAddon().ringBuffer(link as unknown as NativeMap, () => {})).toThrow(new TypeError("not a Map"));
  });
});
