// SPDX-License-Identifier: Apache-2.0
/** Programs on a sockmap, attached in both ways, with sockets in it. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { NativeHandle, NativeMap, NativeObject, NativeProgram } from "../../../src/native/addon.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check, errnoName } from "../../../src/native/status.ts";
import { socketFd } from "../../../src/net/socket-fd.ts";
import {
  ATTACH_CONNECT4,
  ATTACH_SK_MSG,
  ATTACH_STREAM_VERDICT,
  compileBpf,
  loadObject,
  TestBpffs,
  u32,
} from "../../support/addon-fixture.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const MAP_SOCKMAP = 15;
const LINK_SOCKMAP = 14;
const SOURCE = `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, __u32); __type(value, __u32); } bytes SEC(".maps");
static __always_inline void add(__u32 key, __u32 count)
{
	__u32 *sum = bpf_map_lookup_elem(&bytes, &key);
	if (sum) __sync_fetch_and_add(sum, count);
}
SEC("sk_msg") int message(struct sk_msg_md *ctx) { add(0, ctx->size); return SK_PASS; }
SEC("sk_skb/stream_verdict") int stream(struct __sk_buff *ctx) { add(1, ctx->len); return SK_PASS; }
`;

/** net/core/sock_map.c, 6.10: told by the kernel itself, not by what the addon makes of its answer. */
const kernelHasLinks =
  existsSync("/proc/kallsyms") && readFileSync("/proc/kallsyms", "utf8").includes(" sock_map_link_create\n");

describe.each([
  { name: "message", attachType: ATTACH_SK_MSG, counter: 0, meets: "sent" },
  { name: "stream", attachType: ATTACH_STREAM_VERDICT, counter: 1, meets: "received" },
] as const)("the sockmap program $name", ({ name, attachType, counter, meets }) => {
  const open: NativeHandle[] = [];
  let object: NativeObject;

  beforeAll(() => {
    object = loadObject(compileBpf(SOURCE));
  });
  afterEach(() => {
    for (const handle of open.splice(0)) handle.close();
  });
  afterAll(() => object.close());

  const own = <T extends NativeHandle>(handle: T): T => {
    open.push(handle);
    return handle;
  };
  const program = (): NativeProgram => own(check(object.program(name), "program", name));
  const sockmap = (): NativeMap => {
    const options = { type: MAP_SOCKMAP, name: "shunt_test", keySize: 4, valueSize: 4, maxEntries: 2, flags: 0 };
    return own(check(loadAddon().createMap(options), "createMap"));
  };
  const counted = (): number => {
    const bytes = own(check(object.map("bytes"), "map"));
    return new DataView(check(bytes.lookup(u32(counter)), "lookup").buffer).getUint32(0, true);
  };

  /** How many of 5 bytes sent and 7 received by a socket in the map the program meets. */
  async function seenOf(map: NativeMap): Promise<number> {
    await using server = new TcpServer({ address: "127.0.0.1" });
    const peer = await TcpPeer.connect({ address: "127.0.0.1", port: server.port });
    const accepted = await server.accepted.take();
    const before = counted();
    expect(map.update(u32(0), u32(socketFd(peer.socket)), 0)).toBe(0);
    peer.write("12345");
    expect(String(await accepted.bytes(5))).toBe("12345");
    accepted.write("1234567");
    expect(String(await peer.bytes(7))).toBe("1234567");
    const seen = counted() - before;
    peer.end();
    accepted.end();
    await Promise.all([peer.fate, accepted.fate]);
    return seen;
  }
  const all = meets === "sent" ? 5 : 7;

  it(`attached without a link meets what is ${meets}, until it is detached`, async () => {
    const map = sockmap();
    expect(await seenOf(map)).toBe(0);
    expect(program().attach(map.fd, attachType, 0)).toBe(0);
    expect(await seenOf(map)).toBe(all);
    expect(program().detach(map.fd, attachType)).toBe(0);
    expect(await seenOf(map)).toBe(0);
    expect(errnoName(program().detach(map.fd, attachType))).toBe("ENOENT");
    expect(errnoName(program().attach(map.fd, ATTACH_CONNECT4, 0))).toBe("EINVAL");
  });

  it(`attached to a pinned map stays there while no handle is open, and meets what is ${meets}`, async () => {
    const bpffs = new TestBpffs();
    try {
      const path = join(bpffs.path, "sockets");
      const made = sockmap();
      expect(made.pin(path)).toBe(0);
      made.close();
      const first = own(check(loadAddon().openPinnedMap(path), "openPinnedMap"));
      const handle = program();
      expect(handle.attach(first.fd, attachType, 0)).toBe(0);
      first.close();
      handle.close();
      const again = own(check(loadAddon().openPinnedMap(path), "openPinnedMap"));
      expect(await seenOf(again)).toBe(all);
      expect(program().detach(again.fd, attachType)).toBe(0);
    } finally {
      bpffs.remove();
    }
  });

  it(`attached by a link meets what is ${meets}, until the link is closed`, async (context) => {
    if (!kernelHasLinks) {
      // Where the kernel has no such links, the other way is there.
      const map = sockmap();
      expect(errnoName(program().link(map.fd, attachType) as number)).toBe("EINVAL");
      expect(program().attach(map.fd, attachType, 0)).toBe(0);
      return context.skip("kernel feature: bpf_link on sockmap (6.10)");
    }
    const map = sockmap();
    const link = own(check(program().link(map.fd, attachType), "link"));
    const mapId = check(map.info(), "info").id;
    expect(link.info()).toMatchObject({ type: LINK_SOCKMAP, mapId, attachType });
    expect(await seenOf(map)).toBe(all);
    link.close();
    expect(await seenOf(map)).toBe(0);
  });
});
