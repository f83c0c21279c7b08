// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WorkerPool, type WorkerPoolEvent } from "../../../src/agent/workers/worker-pool.ts";
import type { WorkerListener } from "../../../src/agent/workers/worker-protocol.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { listeningOn, makeListenSocket } from "../../../src/net/listen-socket.ts";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { eventually, Inbox } from "../../support/inbox.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

/** Enough for the kernel's hash to give both workers some. */
const CONNECTIONS = 40;

/**
 * The application listens in a namespace of its own on the very address that clients connect to outside, so the
 * accepted socket's own address is the original destination, as under sk_lookup.
 */
class PoolRig {
  readonly records = new Inbox<ConnectionRecord>();
  readonly events = new Inbox<WorkerPoolEvent>();
  readonly listenerFds: number[] = [];
  readonly netnsFd = check(loadAddon().newNetns(true), "newNetns");
  /** Both set by start. */
  pool!: WorkerPool;
  app!: TcpServer;
  port = 0;

  async start(workers: number): Promise<void> {
    this.pool = await WorkerPool.start({ workers, onRecord: this.records.push, onEvent: this.events.push });
    const first = makeListenSocket({ address: "127.0.0.1", port: 0 });
    this.port = listeningOn(first).port;
    this.app = new TcpServer({ port: this.port, netnsFd: this.netnsFd }).echo();
    const spare = [first];
    await this.pool.addListener({
      listener: this.listener("web"),
      makeListenerFd: () => spare.pop() ?? makeListenSocket({ address: "127.0.0.1", port: this.port }),
      onListenerFd: (index) => this.listenerFds.push(index),
    });
  }

  listener(name: string): WorkerListener {
    return {
      name,
      workload: "web",
      direction: "inbound",
      netnsFd: this.netnsFd,
      connectTimeoutMs: 10_000,
      idleTimeoutMs: 0,
      source: { kind: "passthrough" },
      ownPorts: [],
      originals: [{ kind: "local-address" }],
    };
  }

  async connect(count = CONNECTIONS): Promise<TcpPeer[]> {
    const peers = await Promise.all(
      Array.from({ length: count }, () => TcpPeer.connect({ address: "127.0.0.1", port: this.port })),
    );
    await Promise.all(peers.map((peer) => echoes(peer, "hello")));
    await eventually(() => {
      const carried = new Set(this.pool.connections().map((connection) => connection.source));
      return peers.every((peer) => carried.has(`127.0.0.1:${peer.localPort}`));
    });
    return peers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool?.close();
    await this.app?.[Symbol.asyncDispose]();
    loadAddon().closeFd(this.netnsFd);
  }
}

async function echoes(peer: TcpPeer, text: string): Promise<void> {
  const before = (await peer.bytes(0)).length;
  peer.write(text);
  expect(String(await peer.bytes(before + text.length)).slice(before)).toBe(text);
}

/** Writes whenever there is room, until the function it returns is called. */
function keepSending(peer: TcpPeer): () => void {
  const chunk = Buffer.alloc(16_384, "x");
  let on = true;
  const send = (): void => {
    if (on && peer.socket.writable) peer.socket.write(chunk, send);
  };
  send();
  return () => {
    on = false;
  };
}

async function ended(peer: TcpPeer): Promise<string> {
  await peer.toEnd();
  return "ended";
}

const openFds = (): number => readdirSync("/proc/self/fd").length;

describe("WorkerPool", () => {
  let rig: PoolRig;
  let fdsBefore: number;

  beforeEach(async () => {
    fdsBefore = openFds();
    rig = new PoolRig();
    await rig.start(2);
  });

  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
    await eventually(() => openFds() <= fdsBefore);
  });

  it("shares the connections of one port among its threads and gives every record to main", async () => {
    const peers = await rig.connect();
    expect(rig.listenerFds).toEqual([0, 1]);
    const shares = rig.pool.workers();
    expect(shares).toMatchObject([
      { index: 0, running: true, restarts: 0 },
      { index: 1, running: true, restarts: 0 },
    ]);
    expect(Math.min(...shares.map((worker) => worker.connections))).toBeGreaterThan(0);
    expect(rig.pool.connections()).toHaveLength(CONNECTIONS);
    for (const peer of peers) peer.end();
    await Promise.all(peers.map((peer) => peer.toEnd()));
    await rig.records.until((all) => all.length === CONNECTIONS);
    const record = rig.records.all[0];
    expect(record).toMatchObject({
      outcome: "closed",
      bytesSent: 5,
      bytesReceived: 5,
      originalDestination: `127.0.0.1:${rig.port}`,
      interception: "ebpf",
    });
    expect(new Set(rig.app.accepted.all.map((peer) => peer.remoteAddress))).toEqual(new Set(["127.0.0.6"]));
    expect(rig.pool.connections()).toEqual([]);
    expect(rig.pool.stats()).toMatchObject({ active: 0, total: CONNECTIONS, bytesSent: 5 * CONNECTIONS });
  });

  it.each([
    { death: "terminate()", kill: () => rig.pool.terminateWorker(0), reason: /^exit code 1$/ },
    { death: "an uncaught exception", kill: () => rig.pool.crashWorker(0), reason: /^uncaught: crash asked for$/ },
  ])(
    "survives $death of one thread: its connections are recorded as lost, the others go on, it is replaced",
    async ({ kill, reason }) => {
      const peers = await rig.connect();
      const share = rig.pool.workers()[0]?.connections ?? 0;
      await kill();
      const exit = await rig.events.take();
      expect(exit).toMatchObject({ kind: "worker-exited", index: 0, lostConnections: share, restartInMs: 0 });
      expect(exit.kind === "worker-exited" && exit.reason).toMatch(reason);
      expect(rig.records.all).toHaveLength(share);
      expect(new Set(rig.records.all.map((record) => record.outcome))).toEqual(new Set(["worker-lost"]));

      const survivors = new Set(rig.pool.connections().map((connection) => connection.source));
      expect(survivors.size).toBe(CONNECTIONS - share);
      for (const peer of peers) {
        if (survivors.has(`127.0.0.1:${peer.localPort}`)) await echoes(peer, "still here");
        else await eventually(() => peer.socket.readableEnded || peer.socket.destroyed);
      }

      expect(await rig.events.take()).toEqual({ kind: "worker-replaced", index: 0, restarts: 1 });
      expect(rig.listenerFds).toEqual([0, 1, 0]);
      expect(rig.pool.workers()[0]).toMatchObject({ running: true, connections: 0 });
      const more = await rig.connect();
      expect(rig.pool.workers()[0]?.connections).toBeGreaterThan(0);
      expect(rig.pool.stats().outcomes["worker-lost"]).toBe(share);
      for (const peer of [...peers, ...more]) peer.socket.destroy();
      await rig.records.until((all) => all.length === 2 * CONNECTIONS);
      expect(new Set(rig.records.all.map((record) => record.id)).size).toBe(2 * CONNECTIONS);
    },
  );

  it("resets both ends of what a dying thread carries, and never ends them as if all data had come", async () => {
    const peers = await rig.connect();
    const apps = rig.app.accepted.all;
    // Half of them stay idle; the others send and are sent without end.
    const stop = peers.filter((_, i) => i % 2 === 0).map((peer) => keepSending(peer));
    await Promise.all(peers.map((peer, i) => peer.bytes(i % 2 === 0 ? 50_000 : 5)));
    await rig.pool.terminateWorker(0);
    const lost = rig.records.all.filter(({ outcome }) => outcome === "worker-lost");
    expect(lost.length).toBeGreaterThan(0);
    const sources = new Set(lost.map(({ source }) => source));
    const gone = peers.filter((peer) => sources.has(`127.0.0.1:${peer.localPort}`));
    expect(new Set(await Promise.all(gone.map((peer) => peer.fate)))).toEqual(new Set(["ECONNRESET"]));
    for (const end of stop) end();
    for (const peer of peers.filter((each) => !gone.includes(each))) {
      peer.end();
      await peer.toEnd();
      expect(await peer.fate).toBe("close");
    }
    const fates = await Promise.all(apps.map((app) => app.fate));
    expect(fates.filter((fate) => fate === "ECONNRESET")).toHaveLength(gone.length);
    expect(fates.filter((fate) => fate === "close")).toHaveLength(CONNECTIONS - gone.length);
  });

  it("serves connections that were made while a thread was being replaced", async () => {
    const dying = rig.pool.terminateWorker(0);
    const peers = await Promise.allSettled(
      Array.from({ length: CONNECTIONS }, () => TcpPeer.connect({ address: "127.0.0.1", port: rig.port })),
    );
    await dying;
    const served = peers.flatMap((peer) => (peer.status === "fulfilled" ? [peer.value] : []));
    // Those in the dead listener's queue or in the dead thread's hands end; all others are served.
    const outcomes = await Promise.all(
      served.map((peer) => Promise.race([peer.fate, ended(peer), echoes(peer, "hello").then(() => "served", String)])),
    );
    expect(outcomes.filter((outcome) => outcome === "served").length).toBeGreaterThan(0);
    expect(outcomes.filter((outcome) => !["served", "ended", "ECONNRESET", "EPIPE"].includes(outcome))).toEqual([]);
    const more = await rig.connect();
    for (const peer of [...served, ...more]) peer.socket.destroy();
  });

  it("waits longer before it replaces a thread that keeps dying", async () => {
    await rig.pool.terminateWorker(0);
    await rig.events.until((all) => all.some((event) => event.kind === "worker-replaced"));
    await rig.pool.terminateWorker(0);
    const exits = await rig.events.until((all) => {
      const found = all.filter((event) => event.kind === "worker-exited");
      return found.length === 2 && found;
    });
    expect(exits.map((event) => event.restartInMs)).toEqual([0, 100]);
    expect(rig.pool.workers()[0]).toMatchObject({ running: false });
    await expect(rig.pool.terminateWorker(0)).rejects.toThrow("no worker 0 is running");
    await rig.events.until((all) => all.filter((event) => event.kind === "worker-replaced").length === 2);
    expect(rig.pool.workers()[0]).toMatchObject({ running: true, restarts: 2 });
  });

  it("changes timeouts under living connections, in replaced threads too", async () => {
    await rig.pool.terminateWorker(0);
    await rig.events.until((all) => all.some((event) => event.kind === "worker-replaced"));
    const peers = await rig.connect();
    await rig.pool.updateListener("web", { connectTimeoutMs: 10_000, idleTimeoutMs: 100 });
    const records = await rig.records.until((all) => all.length === CONNECTIONS && all);
    expect(new Set(records.map((record) => record.outcome))).toEqual(new Set(["timeout"]));
    for (const peer of peers) peer.socket.destroy();
    await expect(rig.pool.updateListener("none", { connectTimeoutMs: 1, idleTimeoutMs: 1 })).rejects.toThrow("none");
  });

  it("removes a listener when its connections have had their time, and frees the name and the port", async () => {
    const peers = await rig.connect();
    const removed = rig.pool.removeListener("web", { drainMs: 10_000 });
    for (const peer of peers) peer.end();
    await removed;
    expect(rig.records.all).toHaveLength(CONNECTIONS);
    expect(new Set(rig.records.all.map((record) => record.outcome))).toEqual(new Set(["closed"]));
    await expect(TcpPeer.connect({ address: "127.0.0.1", port: rig.port })).rejects.toThrow("ECONNREFUSED");
    await rig.pool.addListener({
      listener: rig.listener("web"),
      makeListenerFd: () => makeListenSocket({ address: "127.0.0.1", port: rig.port }),
    });
    for (const peer of [...peers, ...(await rig.connect(4))]) peer.socket.destroy();
  });

  it("refuses a listener whose socket cannot be made or whose name is taken, and leaves nothing of it", async () => {
    await expect(
      rig.pool.addListener({
        listener: rig.listener("broken"),
        makeListenerFd: () => makeListenSocket({ address: "192.0.2.1", port: 80 }),
      }),
    ).rejects.toMatchObject({ code: "ERR_SYS_ADDRNOTAVAIL" });
    await expect(rig.pool.removeListener("broken", { drainMs: 0 })).rejects.toThrow("no listener broken");
    await expect(
      rig.pool.addListener({ listener: rig.listener("web"), makeListenerFd: () => -1 }),
    ).rejects.toMatchObject({ code: "ERR_POOL_LISTENER_EXISTS" });
    for (const peer of await rig.connect(4)) peer.socket.destroy();
  });

  it("gives every record out before it has closed", async () => {
    const peers = await rig.connect();
    await rig.pool.close(0);
    expect(rig.records.all).toHaveLength(CONNECTIONS);
    expect(new Set(rig.records.all.map((record) => record.detail))).toEqual(
      new Set(["the proxy's listener was removed"]),
    );
    for (const peer of peers) peer.socket.destroy();
  });
});
