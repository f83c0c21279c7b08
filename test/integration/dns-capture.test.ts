// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { once } from "node:events";
import dnsPacket from "dns-packet";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadAddon } from "../../src/native/load-addon.ts";
import { DnsRig, PORT, question } from "../support/dns-rig.ts";
import { answerTo } from "../support/dns-server.ts";
import { MARK } from "../unit/intercept/iptables/iptables-specs.ts";

const addon = loadAddon();

describe("DNS capture", () => {
  let rig: DnsRig;

  beforeEach(async () => {
    rig = await DnsRig.create();
  });

  afterEach(() => rig[Symbol.asyncDispose]());

  it("answers dig over UDP and TCP, IPv4 and IPv6, as if the resolver itself had", async () => {
    await rig.start({ fallbackResolvers: [{ address: rig.lab.server.v6, port: 53 }] });
    await using rules = {
      [Symbol.asyncDispose]: await rig.capture({ kind: "all", port: PORT }).then((r) => () => r.remove()),
    };
    for (const server of [rig.lab.server.v4, rig.lab.server.v6]) {
      for (const transport of ["+notcp", "+tcp"]) {
        const text = await rig.dig(`@${server}`, transport, "Www.Example.com", "A");
        expect(text).toContain("status: NOERROR");
        expect(text).toMatch(/^Www\.Example\.com\.\s+1\s+IN\s+A\s+192\.0\.2\.80$/m);
        expect(text).toContain(`SERVER: ${server}#53`);
      }
    }
    expect(rules).toBeDefined();
    expect(rig.upstream.queries.map((q) => q.transport)).toEqual(["udp", "tcp", "udp", "tcp"]);
    expect(
      new Set(rig.upstream.queries.map((q) => q.client.address)),
      "all by way of the forwarder's resolver",
    ).toEqual(new Set([rig.lab.client.v6]));
    expect(rig.records).toHaveLength(4);
    expect(rig.records[0]).toMatchObject({
      name: "www.example.com",
      type: "A",
      transport: "udp",
      rcode: "NOERROR",
      outcome: "answered",
      resolver: `[${rig.lab.server.v6}]:53`,
    });
    expect(rig.forwarder.counters).toMatchObject({
      queries: { udp: 2, tcp: 2 },
      outcomes: { answered: 4 },
      activeQueries: 0,
    });
  });

  it("captures only the resolvers it is told of", async () => {
    await rig.start();
    await rig.capture({ kind: "servers", servers: [rig.lab.server.v6], port: PORT });
    expect(await rig.dig(`@${rig.lab.server.v4}`, "a.example")).toContain("NOERROR");
    expect(rig.records).toHaveLength(0);
    expect(await rig.dig(`@${rig.lab.server.v6}`, "a.example")).toContain("NOERROR");
    expect(rig.records).toHaveLength(1);
  });

  it("cuts answers that don't fit the client's EDNS0 size, which makes dig ask again over TCP", async () => {
    rig.upstream.handler = (query) => query.reply(answerTo(query, { texts: 6 }));
    await rig.start();
    const cut = async (edns: number | undefined): Promise<Buffer> => {
      const [answer] = await rig.datagrams(
        1,
        question("big.example", { type: "TXT", ...(edns !== undefined && { edns }) }),
      );
      if (!answer) throw new Error("no answer");
      return answer;
    };
    for (const edns of [undefined, 100, 512, 1232]) {
      const answer = await cut(edns);
      expect(answer.length).toBeLessThanOrEqual(512);
      expect(dnsPacket.decode(answer)).toMatchObject({
        flag_tc: true,
        answers: [],
        questions: [{ name: "big.example" }],
      });
    }
    expect(dnsPacket.decode(await cut(4096))).toMatchObject({ flag_tc: false });
    expect(rig.records.map((r) => r.outcome)).toEqual(["truncated", "truncated", "truncated", "truncated", "answered"]);
    await rig.capture({ kind: "all", port: PORT });
    const text = await rig.dig(`@${rig.lab.server.v4}`, "+bufsize=600", "big.example", "TXT");
    expect(text.match(/IN\s+TXT/g)).toHaveLength(7);
    expect(rig.upstream.queries.at(-1)?.transport).toBe("tcp");
  });

  it("passes the resolver's own truncation on", async () => {
    rig.upstream.handler = (query) =>
      query.reply(query.transport === "udp" ? answerTo(query, { truncated: true }) : answerTo(query, { texts: 40 }));
    await rig.start();
    await rig.capture({ kind: "all", port: PORT });
    const text = await rig.dig(`@${rig.lab.server.v4}`, "cut.example", "TXT");
    expect(text.match(/IN\s+TXT/g)).toHaveLength(41);
    expect(rig.records.map((r) => [r.transport, r.outcome])).toEqual([
      ["udp", "truncated"],
      ["tcp", "answered"],
    ]);
  });

  it("keeps the workload's and its own queries apart where ports meet, by conntrack zones", async () => {
    await rig.start();
    await rig.capture({ kind: "all", port: PORT });
    const fd = addon.listen({ address: rig.lab.client.v4, port: 40404, type: "dgram", netns: rig.netns });
    const app = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => app.bind({ fd }, resolve));
    app.send(question("first.example"), 53, rig.lab.server.v4);
    const [, from] = (await once(app, "message")) as [Buffer, dgram.RemoteInfo];
    expect(from).toMatchObject({ address: rig.lab.server.v4, port: 53 });
    app.close();
    await once(app, "close");
    // The proxy's own query from the very same port, while conntrack still remembers the captured one.
    const own = addon.listen({
      address: rig.lab.client.v4,
      port: 40404,
      type: "dgram",
      netns: rig.netns,
      mark: MARK.value,
    });
    const proxy = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => proxy.bind({ fd: own }, resolve));
    const before = rig.records.length;
    proxy.send(question("second.example"), 53, rig.lab.server.v4);
    await once(proxy, "message");
    proxy.close();
    expect(rig.upstream.queries.at(-1)).toMatchObject({
      name: "second.example",
      client: { address: rig.lab.client.v4, port: 40404 },
    });
    expect(rig.records).toHaveLength(before);
  });
});
