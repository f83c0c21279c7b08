// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Inbox, patienceMs } from "../../support/inbox.ts";
import { ProxyRig } from "../../support/proxy-rig.ts";
import { type TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const BLOCK = randomBytes(1 << 20);
const BLOCKS = 200;
/** Far less than what is sent, more than the socket buffers of two hops (tcp_rmem and tcp_wmem grow to 6 and 4 MiB). */
const BUFFERS_AT_MOST = 48 << 20;

/** Writes block after block, each when the kernel has taken the last; `written` hears the bytes taken so far. */
async function writeBlocks(peer: TcpPeer, written: Inbox<number>): Promise<void> {
  for (let i = 1; i <= BLOCKS; i++) {
    await new Promise((resolve) => peer.socket.write(BLOCK, resolve));
    written.push(i * BLOCK.length);
  }
  peer.end();
}

/** Resolves with the last number once none has come for half a second. */
async function stalledAt(written: Inbox<number>): Promise<number> {
  for (;;) {
    const before = written.all.length;
    await new Promise((resolve) => setTimeout(resolve, patienceMs(500)));
    if (written.all.length === before) return written.all.at(-1) ?? 0;
  }
}

/** Memory of live buffers, garbage excluded. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // The second waits for the first one's sweeper.
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}

describe("backpressure", () => {
  it.each(["client", "server"])(
    "stalls a %s whose peer does not read, holds little, and loses nothing",
    async (who) => {
      await using server = new TcpServer();
      await using rig = await ProxyRig.start(server);
      const client = await rig.connect();
      const app = await server.accepted.take();
      const [sender, reader] = who === "client" ? [client, app] : [app, client];
      const heldBefore = heldBytes();
      const written = new Inbox<number>();
      const sending = writeBlocks(sender, written);
      expect(await stalledAt(written)).toBeLessThan(BUFFERS_AT_MOST);
      expect(rig.records.all).toEqual([]);
      // The test itself holds the one block.
      expect(heldBytes() - heldBefore).toBeLessThan(2 << 20);

      const hash = createHash("sha256");
      let received = 0;
      reader.socket.on("data", (chunk) => {
        hash.update(chunk);
        received += chunk.length;
      });
      reader.socket.resume();
      await Promise.all([once(reader.socket, "end"), sending]);
      reader.end();
      sender.read();
      const expected = createHash("sha256");
      for (let i = 0; i < BLOCKS; i++) expected.update(BLOCK);
      expect(received).toBe(BLOCKS * BLOCK.length);
      expect(hash.digest("hex")).toBe(expected.digest("hex"));
      expect(await rig.records.take()).toMatchObject({ outcome: "closed" });
    },
  );
});

describe("the idle timeout", () => {
  it("ends a silent connection by FIN on both sides", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server, { idleTimeoutMs: 200 });
    const client = await rig.connect();
    const app = await server.accepted.take();
    client.write("hi");
    await app.bytes(2);
    await Promise.all([client.toEnd(), app.toEnd()]);
    const record = await rig.records.take();
    expect(record).toMatchObject({ outcome: "timeout", detail: "idle for 200 ms", bytesReceived: 2 });
    expect(record.durationMs).toBeGreaterThanOrEqual(200);
  });

  it("counts from the last byte in either direction", async () => {
    await using server = new TcpServer().echo();
    await using rig = await ProxyRig.start(server, { idleTimeoutMs: 300 });
    const client = await rig.connect();
    const start = performance.now();
    let sent = 0;
    while (performance.now() - start < 900) {
      client.write("x");
      await client.bytes(++sent);
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    expect(rig.records.all).toEqual([]);
    await client.toEnd();
    expect(await rig.records.take()).toMatchObject({ outcome: "timeout", bytesReceived: sent, bytesSent: sent });
  });

  it("ends a half-closed connection on which nothing happens", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server, { idleTimeoutMs: 200 });
    const client = await rig.connect();
    client.end();
    const app = await server.accepted.take();
    await app.toEnd();
    await client.toEnd();
    expect(await rig.records.take()).toMatchObject({ outcome: "timeout" });
  });

  it("resets a connection whose data nobody takes, so that the loss is seen", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server, { idleTimeoutMs: 300 });
    const client = await rig.connect();
    await server.accepted.take();
    client.read();
    for (let i = 0; i < BUFFERS_AT_MOST >> 20; i++) client.write(BLOCK);
    expect(["ECONNRESET", "EPIPE"]).toContain(await client.fate);
    expect(await rig.records.take()).toMatchObject({ outcome: "timeout", detail: "idle for 300 ms" });
  });

  it("takes hold of connections that are there when it is set, and lets go of them when it is unset", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    await server.accepted.take();
    await rig.opened.take();
    rig.runtime.updateListener(rig.name, { connectTimeoutMs: 10_000, idleTimeoutMs: 100 });
    rig.runtime.updateListener(rig.name, { connectTimeoutMs: 10_000, idleTimeoutMs: 0 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(rig.records.all).toEqual([]);
    rig.runtime.updateListener(rig.name, { connectTimeoutMs: 10_000, idleTimeoutMs: 100 });
    await client.toEnd();
    expect(await rig.records.take()).toMatchObject({ outcome: "timeout" });
  });
});

describe("removing a listener", () => {
  it("takes in what has come, refuses new connections and waits for those that are there", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    const app = await server.accepted.take();
    const removed = rig.runtime.removeListener(rig.name, { drainMs: patienceMs(10_000) });
    // It closes after one more turn of the loop: the kernel would reset what it has completed by then.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    await expect(rig.connect()).rejects.toThrow("ECONNREFUSED");
    client.write("last words").end();
    expect(String(await app.toEnd())).toBe("last words");
    app.end();
    await client.toEnd();
    await removed;
    expect(rig.records.all).toMatchObject([{ outcome: "closed", detail: "" }]);
  });

  it("resets what is left when the drain time is over", async () => {
    await using server = new TcpServer();
    await using rig = await ProxyRig.start(server);
    const client = await rig.connect();
    client.read();
    (await server.accepted.take()).read();
    await rig.runtime.removeListener(rig.name, { drainMs: 100 });
    expect(rig.records.all).toMatchObject([{ outcome: "closed", detail: "the proxy's listener was removed" }]);
    expect(await client.fate).toBe("ECONNRESET");
    expect(() => rig.runtime.updateListener(rig.name, { connectTimeoutMs: 1, idleTimeoutMs: 1 })).toThrow(
      "no listener rig",
    );
  });
});
