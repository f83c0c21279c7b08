// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, openSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { NativeHandle, NativeObject, NativeProgram } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import {
  ATTACH_CONNECT4,
  ATTACH_SK_LOOKUP,
  compileBpf,
  loadObject,
  TestBpffs,
  TestCgroup,
} from "../../support/addon-fixture.ts";

const BPF_F_ALLOW_MULTI = 2;
const SOURCE = `
SEC("cgroup/connect4") int allow(struct bpf_sock_addr *ctx) { return 1; }
SEC("cgroup/connect4") int deny(struct bpf_sock_addr *ctx) { return 0; }
SEC("sk_lookup") int pass_all(struct bpf_sk_lookup *ctx) { return SK_PASS; }
SEC("sk_lookup") int drop_all(struct bpf_sk_lookup *ctx) { return ctx->local_port == 7 ? SK_DROP : SK_PASS; }
SEC("sk_msg") int message(struct sk_msg_md *ctx) { return SK_PASS; }
SEC("cgroup_skb/egress") int length(struct __sk_buff *ctx) { return ctx->len == 64; }
`;

describe("a link", () => {
  const open: NativeHandle[] = [];
  let object: NativeObject;
  let cgroup: TestCgroup;
  let cgroupFd: number;
  let server: Server;

  beforeAll(async () => {
    object = loadObject(compileBpf(SOURCE));
    cgroup = new TestCgroup("link");
    cgroupFd = openSync(cgroup.path, "r");
    cgroup.enter();
    server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => {
    for (const handle of open.splice(0)) handle.close();
  });
  afterAll(() => {
    object.close();
    server.close();
    closeSync(cgroupFd);
    cgroup.remove();
  });

  const own = <T extends NativeHandle>(handle: T): T => {
    open.push(handle);
    return handle;
  };
  const program = (name: string): NativeProgram => own(check(object.program(name), "program", name));
  const tryConnect = () =>
    new Promise<string>((resolve) => {
      const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
      socket
        .on("connect", () => resolve("connected"))
        .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
      socket.on("close", () => socket.destroy());
      socket.resume();
    });

  it("attaches to a cgroup, says so, and detaches when closed", async () => {
    const deny = program("deny");
    const link = own(check(deny.link(cgroupFd, ATTACH_CONNECT4), "link"));
    expect(link.info()).toEqual({
      id: expect.any(Number),
      type: 3,
      programId: check(deny.info(), "info").id,
      attachType: ATTACH_CONNECT4,
      cgroupId: fstatSync(cgroupFd, { bigint: true }).ino,
    });
    expect(await tryConnect()).toBe("EPERM");
    link.close();
    expect(await tryConnect()).toBe("connected");
  });

  it("replaces its program and keeps its identity", async () => {
    const link = own(check(program("allow").link(cgroupFd, ATTACH_CONNECT4), "link"));
    const before = check(link.info(), "info");
    expect(await tryConnect()).toBe("connected");
    expect(link.update(program("deny"))).toBe(0);
    expect(await tryConnect()).toBe("EPERM");
    expect(check(link.info(), "info").id).toBe(before.id);
    expect(check(link.info(), "info").programId).not.toBe(before.programId);
    expect(errnoName(link.update(program("pass_all")))).toBe("EINVAL");
    expect(await tryConnect()).toBe("EPERM");
  });

  it("outlives its handle when pinned, is opened again, detached, and ends with its pin", async () => {
    const bpffs = new TestBpffs();
    try {
      const path = join(bpffs.path, "link");
      const link = check(program("deny").link(cgroupFd, ATTACH_CONNECT4), "link");
      expect(link.pin(path)).toBe(0);
      link.close();
      expect(await tryConnect()).toBe("EPERM");
      const again = own(check(loadAddon().openPinnedLink(path), "open"));
      expect(again.update(program("allow"))).toBe(0);
      expect(await tryConnect()).toBe("connected");
      expect(again.detach()).toBe(0);
      expect(check(again.info(), "info").cgroupId).toBe(0n);
      const programPath = join(bpffs.path, "program");
      expect(program("deny").pin(programPath)).toBe(0);
      expect(own(check(loadAddon().openPinnedProgram(programPath), "open")).info()).toEqual(program("deny").info());
    } finally {
      bpffs.remove();
    }
    expect(check(loadAddon().queryPrograms(cgroupFd, ATTACH_CONNECT4, 0), "query").ids).toEqual([]);
  });

  it("stands beside others, and a query lists them in order", () => {
    const allow = program("allow");
    const deny = program("deny");
    own(check(allow.link(cgroupFd, ATTACH_CONNECT4), "link"));
    own(check(deny.link(cgroupFd, ATTACH_CONNECT4), "link"));
    const ids = [allow, deny].map((p) => check(p.info(), "info").id);
    expect(loadAddon().queryPrograms(cgroupFd, ATTACH_CONNECT4, 0)).toMatchObject({
      ids,
      attachFlags: BPF_F_ALLOW_MULTI,
    });
    expect(own(check(loadAddon().programById(ids[1] ?? 0), "byId")).info()).toEqual(deny.info());
  });

  it("has a legacy form", async () => {
    const deny = program("deny");
    expect(deny.attach(cgroupFd, ATTACH_CONNECT4, BPF_F_ALLOW_MULTI)).toBe(0);
    expect(await tryConnect()).toBe("EPERM");
    expect(deny.detach(cgroupFd, ATTACH_CONNECT4)).toBe(0);
    expect(errnoName(deny.detach(cgroupFd, ATTACH_CONNECT4))).toBe("ENOENT");
    expect(await tryConnect()).toBe("connected");
  });

  it("attaches sk_lookup to a network namespace, and nowhere else", () => {
    const netns = check(loadAddon().newNetns(true), "newNetns");
    const link = own(check(program("pass_all").link(netns, ATTACH_SK_LOOKUP), "link"));
    expect(link.info()).toMatchObject({ type: 5, netnsInode: fstatSync(netns).ino, attachType: ATTACH_SK_LOOKUP });
    expect(link.update(program("drop_all"))).toBe(0);
    expect(check(loadAddon().queryPrograms(netns, ATTACH_SK_LOOKUP, 0), "query").ids).toEqual([
      check(program("drop_all").info(), "info").id,
    ]);
    expect(errnoName(program("pass_all").link(cgroupFd, ATTACH_SK_LOOKUP) as number)).toBe("EINVAL");
    closeSync(netns);
  });

  it("names each error", () => {
    expect(errnoName(program("allow").link(-1, ATTACH_CONNECT4) as number)).toBe("EBADF");
    expect(errnoName(program("allow").link(cgroupFd, 9999) as number)).toBe("EINVAL");
    expect(errnoName(program("message").link(cgroupFd, ATTACH_CONNECT4) as number)).toBe("EINVAL");
    expect(errnoName(program("allow").attach(-1, ATTACH_CONNECT4, 0))).toBe("EBADF");
    expect(errnoName(loadAddon().queryPrograms(-1, ATTACH_CONNECT4, 0) as number)).toBe("EBADF");
    expect(errnoName(loadAddon().openPinnedLink("/nonexistent") as number)).toBe("ENOENT");
    expect(errnoName(loadAddon().programById(0xffff_fff0) as number)).toBe("ENOENT");
    expect(errnoName(program("allow").pin("/tmp/shunt-test-not-bpffs"))).toBe("EPERM");
    const link = own(check(program("allow").link(cgroupFd, ATTACH_CONNECT4), "link"));
    expect(() => link.update({} as NativeProgram)).toThrow(new TypeError("not a Program"));
    expect(() => program("allow").link("1" as unknown as number, ATTACH_CONNECT4)).toThrow(
      /^targetFd must be an integer/,
    );
  });

  it("runs a program on a packet of the test's and on a context of the test's", () => {
    const packet = new Uint8Array(78);
    packet.set([8, 0], 12);
    const run = check(program("length").testRun({ data: packet, repeat: 100 }), "testRun");
    expect(run.returnValue).toBe(1);
    expect(run.data).toHaveLength(78);
    expect(check(program("length").testRun({ data: new Uint8Array(80) }), "testRun").returnValue).toBe(0);
    expect(errnoName(program("length").testRun({ data: new Uint8Array(3) }) as number)).toBe("EINVAL");
    expect(errnoName(program("length").testRun({ data: packet, dataOutSize: 10 }) as number)).toBe("ENOSPC");
    expect(errnoName(program("allow").testRun({}) as number)).toBe("ENOTSUPP");
    // struct bpf_sk_lookup: cookie, family, protocol, remote ip4, ip6, port, local ip4, ip6, port, ifindex.
    const context = new Uint8Array(72);
    const view = new DataView(context.buffer);
    view.setUint32(8, 2, true);
    view.setUint32(12, 6, true);
    view.setUint32(60, 7, true);
    expect(check(program("drop_all").testRun({ context }), "testRun").returnValue).toBe(0);
    view.setUint32(60, 8, true);
    expect(check(program("drop_all").testRun({ context }), "testRun").returnValue).toBe(1);
  });
});
