// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import dnsPacket from "dns-packet";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { frame } from "../../src/dns/tcp-frames.ts";
import { DnsRig, question, SHORT } from "../support/dns-rig.ts";
import { answerTo, TestDnsServer } from "../support/dns-server.ts";

describe("the DNS forwarder over UDP", () => {
  let rig: DnsRig;

  beforeEach(async () => {
    rig = await DnsRig.create();
  });

  afterEach(() => rig[Symbol.asyncDispose]());

  it("asks the resolver that the client asked, where that is known, and no other", async () => {
    const second = await TestDnsServer.start(rig.lab.server.path, [rig.lab.server.v4], 5353);
    try {
      const asked: unknown[] = [];
      await rig.start({
        originalResolver: (transport, client, { fd, localPort }) => {
          asked.push([transport, client.address, typeof fd, localPort]);
          return { address: rig.lab.server.v4, port: 5353 };
        },
      });
      await rig.datagrams(1, question("one.example"));
      const socket = await rig.tcpConnection();
      socket.write(frame(question("two.example")));
      await once(socket, "data");
      socket.destroy();
      expect(second.queries.map((q) => q.name)).toEqual(["one.example", "two.example"]);
      expect(rig.upstream.queries).toEqual([]);
      expect(asked).toEqual([
        ["udp", "127.0.0.1", "undefined", 15053],
        ["tcp", "127.0.0.1", "number", 15053],
      ]);
    } finally {
      second[Symbol.dispose]();
    }
  });

  it("passes query and answer on as they are but for the id, and sends no two queries alike", async () => {
    const answersSent: Buffer[] = [];
    rig.upstream.handler = (query) => {
      const answer = answerTo(query, { texts: 2 });
      answersSent.push(answer);
      query.reply(answer);
    };
    await rig.start();
    const queries = Array.from({ length: 20 }, (_, i) => question("MiXed.example", { id: i, edns: 1400 }));
    const answers = await rig.datagrams(20, ...queries);
    expect(new Set(answers.map((a) => a.readUInt16BE(0)))).toEqual(new Set(queries.map((_, i) => i)));
    for (const answer of answers) expect(answer.subarray(2)).toEqual(answersSent[0]?.subarray(2));
    for (const query of rig.upstream.queries) expect(query.bytes.subarray(2)).toEqual(queries[0]?.subarray(2));
    expect(new Set(rig.upstream.queries.map((q) => q.client.port)).size, "source ports").toBe(20);
    expect(new Set(rig.upstream.queries.map((q) => q.packet.id)).size, "ids").toBeGreaterThan(15);
  });

  it("asks again when nobody answers, and says SERVFAIL with the question in the end", async () => {
    rig.upstream.handler = () => {};
    await rig.start();
    const started = performance.now();
    const [answer] = await rig.datagrams(1, question("silent.example", { id: 4242 }));
    expect(performance.now() - started).toBeGreaterThan(2 * SHORT.tryTimeoutMs - 20);
    expect(answer && dnsPacket.decode(answer)).toMatchObject({
      id: 4242,
      rcode: "SERVFAIL",
      flag_ra: true,
      questions: [{ name: "silent.example" }],
    });
    expect(rig.upstream.queries).toHaveLength(2);
    expect(rig.records).toMatchObject([{ outcome: "timeout", rcode: "SERVFAIL", resolver: `${rig.lab.server.v4}:53` }]);
  });

  it("takes a slow answer to the first try after it has asked again", async () => {
    rig.upstream.handler = () => {
      const [first, second] = rig.upstream.queries;
      if (first && second) first.reply(answerTo(first, { address: "192.0.2.1" }));
    };
    await rig.start();
    const [answer] = await rig.datagrams(1, question("slow.example"));
    expect(answer && dnsPacket.decode(answer).answers).toMatchObject([{ data: "192.0.2.1" }]);
  });

  it("goes on to the next resolver when one is not there, without waiting", async () => {
    await rig.start({
      fallbackResolvers: [
        { address: rig.lab.server.v4, port: 54 },
        { address: rig.lab.server.v4, port: 53 },
      ],
      limits: { ...SHORT, tryTimeoutMs: 60_000 },
    });
    await rig.datagrams(1, question("next.example"));
    const socket = await rig.tcpConnection();
    socket.write(frame(question("next.example")));
    await once(socket, "data");
    socket.destroy();
    expect(rig.records).toMatchObject([
      { transport: "udp", outcome: "answered", resolver: `${rig.lab.server.v4}:53` },
      { transport: "tcp", outcome: "answered", resolver: `${rig.lab.server.v4}:53` },
    ]);
  });

  it("says at once that nobody can be reached", async () => {
    await rig.start({
      fallbackResolvers: [{ address: rig.lab.server.v4, port: 54 }],
      limits: { ...SHORT, tryTimeoutMs: 60_000 },
    });
    await rig.datagrams(1, question("nobody.example"));
    expect(rig.records).toMatchObject([{ outcome: "unreachable", rcode: "SERVFAIL" }]);
  });

  it("believes no answer with a wrong id, to another question, or from another address or port", async () => {
    const stray = await rig.upstream.stray(rig.lab.server.v4, 5300);
    rig.upstream.handler = (query) => {
      const forged = answerTo(query, { address: "203.0.113.66" });
      const wrongId = Buffer.from(forged);
      wrongId.writeUInt16BE((forged.readUInt16BE(0) + 1) & 0xffff, 0);
      query.reply(wrongId);
      query.reply(answerTo(query, { name: "other.example", address: "203.0.113.66" }));
      query.reply(Buffer.from("not dns"));
      query.reply(forged, stray);
      query.reply(answerTo(query));
    };
    await rig.start();
    const [answer] = await rig.datagrams(1, question("safe.example"));
    expect(answer && dnsPacket.decode(answer).answers).toMatchObject([{ data: "192.0.2.80" }]);
    expect(rig.forwarder.counters).toMatchObject({ mismatches: 3 });
  });

  it("says FORMERR to what is no query, and nothing to what is an answer or too short", async () => {
    await rig.start();
    const twoQuestions = question("x.example", { id: 9 });
    twoQuestions.writeUInt16BE(2, 4);
    const response = answerTo({ packet: dnsPacket.decode(question("y.example")), name: "y.example" } as never);
    const answers = await rig.datagrams(1, Buffer.from("short"), response, twoQuestions);
    expect(answers[0] && dnsPacket.decode(answers[0])).toMatchObject({ id: 9, rcode: "FORMERR" });
    expect(rig.forwarder.counters).toMatchObject({ dropped: 2, outcomes: { malformed: 1 } });
    expect(rig.upstream.queries).toEqual([]);
  });

  it("refuses queries over its limit and counts them", async () => {
    rig.upstream.handler = () => {};
    await rig.start({ limits: { ...SHORT, tryTimeoutMs: 300, maxConcurrent: 3 } });
    const answers = await rig.datagrams(
      10,
      ...Array.from({ length: 10 }, (_, i) => question("many.example", { id: i })),
    );
    expect(answers.map((a) => dnsPacket.decode(a)).every((p) => Reflect.get(p, "rcode") === "SERVFAIL")).toBe(true);
    expect(rig.forwarder.counters).toMatchObject({ outcomes: { refused: 7, timeout: 3 }, activeQueries: 0 });
  });
});
