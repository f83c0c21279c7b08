// SPDX-License-Identifier: Apache-2.0
/** Many connections through two proxies, and the ends of connections as each side made them. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { eventually, patienceMs } from "../../support/inbox.ts";
import { echoServer, load } from "../../support/load.ts";
import { inSomeModes } from "../../support/modes.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const PORT = { echo: 7000, checksum: 7001, source: 7002, reset: 7003, own: 7004, closed: 7999 };
const STREAM_BYTES = 65_536;
const SOURCE_BYTES = 300_000;

inSomeModes(["ebpf", "iptables"], "connections through two proxies", (mode) => {
  let pair: PodPair;
  let clientFd: number;
  let serverFd: number;

  beforeAll(async () => {
    pair = await PodPair.start({ mode, client: {}, server: {} });
    const { server, client } = pair.lab;
    clientFd = openSync(client.path, "r");
    serverFd = openSync(server.path, "r");
    for (const address of [server.v4, server.v6]) {
      await pair.processes.start(echoServer(address, PORT.echo), server.path);
      await pair.processes.start(echoServer(address, PORT.checksum, "--mode", "checksum"), server.path);
      const source = ["--mode", "source", "--bytes", String(SOURCE_BYTES)];
      await pair.processes.start(echoServer(address, PORT.source, ...source), server.path);
      await pair.processes.start(echoServer(address, PORT.reset, "--reset"), server.path);
    }
  });

  afterAll(async () => {
    closeSync(clientFd);
    closeSync(serverFd);
    await pair[Symbol.asyncDispose]();
  });

  /** The two records of the connection under test, outbound first. */
  async function bothRecords(port: number, seen: number) {
    const { agent } = pair;
    const ours = (): ConnectionRecord[] =>
      agent
        .records()
        .slice(seen)
        .filter((r) => r.originalDestination?.endsWith(`:${port}`) === true);
    const records = await eventually(() => ours().length >= 2 && ours());
    expect(records).toHaveLength(2);
    return [...records].sort((a, b) => b.direction.localeCompare(a.direction));
  }

  it.each(["v4", "v6"] as const)("carries many at once over %s, every byte in its place", async (family) => {
    const { client, server } = pair.lab;
    const connections = 1000;
    const seen = pair.agent.records().length;
    const flags = ["-c", String(connections), "-n", String(connections), "-s", String(STREAM_BYTES), "--idle", "30"];
    expect(await load(client, server[family], PORT.echo, "verify", ...flags)).toMatchObject({
      status: 0,
      errors: 0,
      mismatches: 0,
      bytesSent: connections * STREAM_BYTES,
      bytesReceived: connections * STREAM_BYTES,
    });
    await eventually(() => pair.agent.records().length >= seen + 2 * connections);
    const records = pair.agent.records().slice(seen);
    for (const direction of ["outbound", "inbound"]) {
      const ended = records.filter((record) => record.direction === direction);
      expect(ended).toHaveLength(connections);
      for (const record of ended) {
        expect(record).toMatchObject({
          outcome: "closed",
          originalDestination: endpoint(server[family], PORT.echo),
          bytesSent: STREAM_BYTES,
          bytesReceived: STREAM_BYTES,
        });
      }
      // No two of them are mistaken for each other.
      expect(new Set(ended.map((record) => record.source)).size).toBe(connections);
      expect(new Set(ended.map((record) => record.id)).size).toBe(connections);
    }
  });

  it.each(["v4", "v6"] as const)(
    "passes the client's half-close on over %s, and the answer that follows it",
    async (family) => {
      const address = pair.lab.server[family];
      const seen = pair.agent.records().length;
      const peer = await TcpPeer.connect({ address, port: PORT.checksum, netnsFd: clientFd });
      const answer = await peer.write(Buffer.alloc(STREAM_BYTES, 7)).end().toEnd();
      expect(answer.toString()).toMatch(new RegExp(`^${STREAM_BYTES} \\w+\n$`));
      for (const record of await bothRecords(PORT.checksum, seen)) {
        expect(record).toMatchObject({ outcome: "closed", bytesReceived: STREAM_BYTES, bytesSent: answer.length });
      }
    },
  );

  it("passes the server's half-close on, and what the client still sends after it", async () => {
    const address = pair.lab.server.v4;
    const seen = pair.agent.records().length;
    const peer = await TcpPeer.connect({ address, port: PORT.source, netnsFd: clientFd });
    expect(await peer.toEnd()).toHaveLength(SOURCE_BYTES);
    expect(pair.agent.records()).toHaveLength(seen);
    peer.write("after the end").end();
    await peer.fate;
    for (const record of await bothRecords(PORT.source, seen)) {
      expect(record).toMatchObject({ outcome: "closed", bytesSent: SOURCE_BYTES, bytesReceived: 13 });
    }
  });

  it("passes a reset by the server on as a reset", async () => {
    const seen = pair.agent.records().length;
    const peer = await TcpPeer.connect({ address: pair.lab.server.v4, port: PORT.reset, netnsFd: clientFd });
    expect(await peer.read().write("x").fate).toBe("ECONNRESET");
    for (const record of await bothRecords(PORT.reset, seen)) expect(record.outcome).toBe("reset-by-upstream");
  });

  it("passes a reset by the client on as a reset", async () => {
    const address = pair.lab.server.v4;
    await using server = new TcpServer({ address, port: PORT.own, netnsFd: serverFd });
    const seen = pair.agent.records().length;
    const client = await TcpPeer.connect({ address, port: PORT.own, netnsFd: clientFd });
    const accepted = (await server.accepted.take()).read();
    client.reset();
    expect(await accepted.fate).toBe("ECONNRESET");
    for (const record of await bothRecords(PORT.own, seen)) expect(record.outcome).toBe("reset-by-downstream");
  });

  it("resets the client of a server that refuses, and says why", async () => {
    const seen = pair.agent.records().length;
    const { server } = pair.lab;
    const fate = await TcpPeer.connect({ address: server.v4, port: PORT.closed, netnsFd: clientFd }).then(
      (peer) => peer.read().fate,
      (error: Error) => error.message,
    );
    expect(fate).toBe("ECONNRESET");
    const [outbound, inbound] = await bothRecords(PORT.closed, seen);
    expect(outbound?.outcome).toBe("reset-by-upstream");
    expect(inbound).toMatchObject({
      outcome: "connect-failed",
      detail: "connect: ECONNREFUSED",
      upstream: endpoint(server.v4, PORT.closed),
    });
  });

  it("takes no more from a client than the server's slowness allows", async () => {
    const address = pair.lab.server.v4;
    const total = 192 * 1024 * 1024;
    await using server = new TcpServer({ address, port: PORT.own, netnsFd: serverFd });
    const client = await TcpPeer.connect({ address, port: PORT.own, netnsFd: clientFd });
    const accepted = await server.accepted.take();
    const before = residentBytes(pair.agent.pid);
    // One buffer many times: what piles up here is not memory.
    const chunk = Buffer.alloc(1024 * 1024, 1);
    for (let sent = 0; sent < total; sent += chunk.length) client.write(chunk);
    client.end();
    const taken = await settled(() => client.socket.bytesWritten - client.socket.writableLength);
    expect(taken).toBeLessThan(total / 2);
    expect(residentBytes(pair.agent.pid) - before).toBeLessThan(total / 4);
    let received = 0;
    const end = new Promise((resolve) => accepted.socket.once("end", resolve));
    accepted.socket.on("data", (data) => {
      received += data.length;
    });
    accepted.socket.resume();
    await end;
    expect(received).toBe(total);
    accepted.end();
    expect(await client.read().fate).toBe("close");
  });
});

/** Waits until a value has not changed for a second. */
async function settled(read: () => number): Promise<number> {
  for (let value = -1; ; ) {
    const next = read();
    if (next === value) return value;
    value = next;
    await new Promise((resolve) => setTimeout(resolve, patienceMs(1000)));
  }
}

function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

inSomeModes(["ebpf", "iptables"], "with preserveSource", (mode) => {
  it.each(["v4", "v6"] as const)("loses none of many connections made one after the other over %s", async (family) => {
    await using pair = await PodPair.start({ mode, client: {}, server: { inbound: { preserveSource: true } } });
    const { client, server } = pair.lab;
    await pair.processes.start(echoServer(server[family], PORT.echo), server.path);
    const flags = ["-c", "16", "-n", "1600", "-s", "64", "--idle", "30"];
    expect(await load(client, server[family], PORT.echo, "connect", ...flags)).toMatchObject({
      status: 0,
      errors: 0,
      requests: 1600,
    });
  });
});
