// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import dnsPacket from "dns-packet";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { frame, TcpFrames } from "../../src/dns/tcp-frames.ts";
import { DnsRig, question, SHORT } from "../support/dns-rig.ts";
import { answerTo } from "../support/dns-server.ts";

describe("the DNS forwarder over TCP", () => {
  let rig: DnsRig;

  beforeEach(async () => {
    rig = await DnsRig.create();
  });

  afterEach(() => rig[Symbol.asyncDispose]());

  it("answers pipelined TCP queries as the answers come, on one connection to the resolver", async () => {
    const waiting: (() => void)[] = [];
    rig.upstream.handler = (query) => {
      waiting.push(() => query.reply(answerTo(query)));
      if (waiting.length === 40) for (const reply of waiting.reverse()) reply();
    };
    await rig.start({ limits: { ...SHORT, tcpTimeoutMs: 5000, maxPipelined: 64 } });
    const socket = await rig.tcpConnection();
    const ids: number[] = [];
    const frames = new TcpFrames((message) => ids.push(message.readUInt16BE(0)));
    socket.on("data", (chunk) => frames.push(chunk));
    const stream = Buffer.concat(Array.from({ length: 40 }, (_, i) => frame(question(`q${i}.example`, { id: i }))));
    socket.write(stream.subarray(0, 501));
    socket.end(stream.subarray(501));
    await once(socket, "end");
    expect(ids).toEqual(Array.from({ length: 40 }, (_, i) => 39 - i));
    expect(new Set(rig.upstream.queries.map((q) => q.client.port)).size).toBe(1);
  });

  it("reads no more from a client than it may have under way", async () => {
    await rig.start({ limits: { ...SHORT, maxPipelined: 2 } });
    const socket = await rig.tcpConnection();
    let answered = 0;
    const frames = new TcpFrames(() => answered++);
    socket.on("data", (chunk) => frames.push(chunk));
    for (let i = 0; i < 50; i++) socket.write(frame(question("p.example", { id: i })));
    socket.end();
    await once(socket, "end");
    expect(answered).toBe(50);
  });

  it("asks once more when the resolver closes the connection before it has answered", async () => {
    let closed = 0;
    rig.upstream.handler = (query) => {
      if (closed++ === 0) query.connection?.destroy();
      else query.reply(answerTo(query));
    };
    await rig.start();
    const socket = await rig.tcpConnection();
    socket.end(frame(question("again.example")));
    await once(socket, "data");
    expect(rig.records).toMatchObject([{ outcome: "answered" }]);
    expect(rig.upstream.queries).toHaveLength(2);
  });

  it("says SERVFAIL over TCP when the resolver is silent", async () => {
    rig.upstream.handler = () => {};
    await rig.start();
    const socket = await rig.tcpConnection();
    socket.write(frame(question("silent.example")));
    const [chunk] = (await once(socket, "data")) as [Buffer];
    expect(dnsPacket.decode(chunk.subarray(2))).toMatchObject({ id: 77, rcode: "SERVFAIL" });
    expect(rig.records).toMatchObject([{ outcome: "timeout", transport: "tcp" }]);
    socket.destroy();
  });

  it("passes every message of a zone transfer", async () => {
    rig.upstream.handler = (query) => {
      for (let i = 0; i < 5; i++) query.reply(answerTo(query, { texts: 100 }));
    };
    await rig.start();
    const socket = await rig.tcpConnection();
    let messages = 0;
    const frames = new TcpFrames(() => {
      if (++messages === 5) socket.end();
    });
    socket.on("data", (chunk) => frames.push(chunk));
    socket.write(frame(question("zone.example", { type: "AXFR" })));
    await once(socket, "end");
    expect(messages).toBe(5);
    expect(rig.records).toMatchObject([{ type: "AXFR", outcome: "answered", rcode: "NOERROR" }]);
  });

  it("closes idle connections, and counts the queries of clients that left", async () => {
    rig.upstream.handler = (query) => query.name === "stay.example" && query.reply(answerTo(query));
    await rig.start({ limits: { ...SHORT, tcpTimeoutMs: 5000, idleTimeoutMs: 100 } });
    const idle = await rig.tcpConnection();
    idle.write(frame(question("stay.example")));
    idle.resume();
    await once(idle, "close");
    const leaving = await rig.tcpConnection();
    leaving.write(frame(question("leave.example")));
    await expect.poll(() => rig.upstream.queries.length).toBe(2);
    // A FIN would only say that no more queries come.
    leaving.resetAndDestroy();
    await expect.poll(() => rig.forwarder.counters.outcomes["client-gone"]).toBe(1);
    await expect.poll(() => rig.forwarder.counters.tcpClients).toBe(0);
  });
});
