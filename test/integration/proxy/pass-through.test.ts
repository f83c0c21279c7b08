// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { listeningOn } from "../../../src/net/listen-socket.ts";
import { ProxyRig } from "../../support/proxy-rig.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const sha = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

/** Writes in pieces of random length, now and then waiting for the kernel to take them. */
async function writeInPieces(peer: TcpPeer, data: Buffer): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const length = randomInt(1, 40_000);
    if (!peer.socket.write(data.subarray(at, at + length)) && randomInt(2) === 0) await once(peer.socket, "drain");
    at += length;
  }
  peer.end();
}

describe("pass-through", () => {
  it("carries 200 concurrent connections byte for byte, over IPv4 and IPv6", async () => {
    await using server = new TcpServer().echo();
    await using server6 = new TcpServer({ address: "::1" }).echo();
    await using rig = await ProxyRig.start(server);
    await using rig6 = await ProxyRig.start(server6, { address: "::1" });
    const sizes = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const client = await (i % 2 ? rig : rig6).connect();
        const sent = randomBytes(randomInt(1, 300_000));
        const [received] = await Promise.all([client.toEnd(), writeInPieces(client, sent)]);
        expect(sha(received)).toBe(sha(sent));
        return sent.length;
      }),
    );
    await rig.records.until((all) => all.length === 100);
    await rig6.records.until((all) => all.length === 100);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const records = [...rig.records.all, ...rig6.records.all];
    expect(new Set(records.map((record) => record.id)).size).toBe(200);
    expect(records.every((record) => record.outcome === "closed")).toBe(true);
    expect(records.reduce((sum, record) => sum + record.bytesSent, 0)).toBe(total);
    expect(records.reduce((sum, record) => sum + record.bytesReceived, 0)).toBe(total);
    expect(rig.runtime.stats()).toMatchObject({ active: 0, total: 100, outcomes: { closed: 100 } });
    expect(rig.runtime.connections()).toEqual([]);
  });

  it("leaves to the kernel what it has still to send, and delivers it after both sockets are closed", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    // More than the client's window holds while it does not read, less than window and send buffer together.
    const sent = randomBytes(400_000);
    client.end();
    await app.toEnd();
    app.socket.end(sent);
    expect(await rig.records.take()).toMatchObject({ outcome: "closed", bytesSent: sent.length });
    expect(client.socket.bytesRead).toBeLessThan(sent.length / 2);
    expect(sha(await client.toEnd())).toBe(sha(sent));
    expect(await client.fate).toBe("close");
  });

  it("writes one record with who, where, how much and how long", async () => {
    await using server = new TcpServer({ address: "::1" });
    await using rig = await ProxyRig.start(server);
    const before = Date.now();
    const client = await rig.connect();
    const app = await server.accepted.take();
    client.write("four").end();
    expect(String(await app.toEnd())).toBe("four");
    const [open] = rig.runtime.connections();
    app.write("sixsix").end();
    expect(String(await client.toEnd())).toBe("sixsix");
    const record = await rig.records.take();
    expect(record).toEqual({
      time: record.time,
      id: open?.id,
      direction: "outbound",
      source: `127.0.0.1:${client.localPort}`,
      originalDestination: `[::1]:${server.port}`,
      upstream: `[::1]:${server.port}`,
      bytesSent: 6,
      bytesReceived: 4,
      durationMs: record.durationMs,
      outcome: "closed",
      detail: "",
      interception: "ebpf",
      workload: "web",
    });
    expect(Date.parse(record.time)).toBeGreaterThanOrEqual(before - 1);
    expect(record.durationMs).toBeGreaterThanOrEqual(0);
    expect(record.durationMs).toBeLessThanOrEqual(Date.now() - before + 1);
    expect(open).toMatchObject({
      source: record.source,
      upstream: record.upstream,
      listener: "rig",
      time: record.time,
    });
  });

  it("lets the client end first and the server answer after it", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    client.write("question").end();
    const app = await server.accepted.take();
    expect(String(await app.toEnd())).toBe("question");
    app.write("late ").write("answer").end();
    expect(String(await client.toEnd())).toBe("late answer");
    expect(await rig.records.take()).toMatchObject({ outcome: "closed", bytesReceived: 8, bytesSent: 11 });
  });

  it("lets the server end first and the client go on sending", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    app.write("bye").end();
    expect(String(await client.toEnd())).toBe("bye");
    client.write("still here").end();
    expect(String(await app.toEnd())).toBe("still here");
    expect(await rig.records.take()).toMatchObject({ outcome: "closed", bytesReceived: 10, bytesSent: 3 });
  });

  it("delivers all that a server sent before it closed, to a client that reads later", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    const data = randomBytes(3_000_000);
    app.read().write(data).end();
    await once(app.socket, "finish");
    client.end();
    expect(sha(await client.toEnd())).toBe(sha(data));
    expect(await rig.records.take()).toMatchObject({ outcome: "closed", bytesSent: data.length });
  });

  it("hides from a dual-stack socket that its client is a v4-mapped one", async () => {
    await using server = new TcpServer();
    const seen: unknown[] = [];
    await using rig = await ProxyRig.start(server);
    const fd = loadAddon().listen({ address: "::", port: 0, type: "stream", v6only: false });
    const { port } = listeningOn(fd);
    rig.runtime.addListener({
      name: "dual",
      workload: "web",
      direction: "inbound",
      connectTimeoutMs: 10_000,
      idleTimeoutMs: 0,
      source: { kind: "local" },
      ownPorts: [port],
      interception: "iptables",
      lookup: (connection) => {
        seen.push(connection.local, connection.remote);
        return { address: server.address, port: server.port, interception: "iptables" };
      },
      fd,
    });
    const client = await TcpPeer.connect({ address: "127.0.0.1", port });
    client.end();
    (await server.accepted.take()).read().end();
    await client.toEnd();
    const record = await rig.records.take();
    expect(record.source).toBe(`127.0.0.1:${client.localPort}`);
    expect(record.interception).toBe("iptables");
    expect(seen).toEqual([
      { address: "127.0.0.1", port },
      { address: "127.0.0.1", port: client.localPort },
    ]);
  });
});
