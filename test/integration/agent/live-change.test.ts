// SPDX-License-Identifier: Apache-2.0
/** What can be changed live, with connections open across each change and new ones made all the time. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../../support/inbox.ts";
import {
  BOTH,
  DIRECT,
  type Expected,
  type Fields,
  LiveLab,
  NEITHER,
  OFF,
  PROXIED,
  TELL,
} from "../../support/live-lab.ts";
import { inSomeModes, type Mode } from "../../support/modes.ts";

interface Change {
  readonly title: string;
  readonly traffic: (peer: { readonly v4: string; readonly v6: string }) => Fields;
  readonly expected: Expected;
}

const changes: readonly Change[] = [
  { title: "outbound off", traffic: () => ({ outbound: OFF }), expected: { out: DIRECT, in: PROXIED } },
  { title: "outbound on, inbound off", traffic: () => ({ inbound: OFF }), expected: { out: PROXIED, in: DIRECT } },
  { title: "inbound on", traffic: () => ({}), expected: BOTH },
  { title: "both off", traffic: () => ({ outbound: OFF, inbound: OFF }), expected: NEITHER },
  { title: "both on, fail mode direct", traffic: () => ({ failMode: "direct" }), expected: BOTH },
  { title: "fail mode deny", traffic: () => ({ failMode: "deny" }), expected: BOTH },
  {
    title: "v4 destinations and v6 clients excluded",
    traffic: ({ v4, v6 }) => ({ outbound: { excludeCidrs: [`${v4}/32`] }, inbound: { excludeCidrs: [`${v6}/128`] } }),
    expected: { out: { 4: "direct", 6: "proxied" }, in: { 4: "proxied", 6: "direct" } },
  },
  {
    title: "v4 destinations and v6 clients alone included",
    traffic: ({ v4, v6 }) => ({ outbound: { includeCidrs: [`${v4}/24`] }, inbound: { includeCidrs: [`${v6}/64`] } }),
    expected: { out: { 4: "proxied", 6: "direct" }, in: { 4: "direct", 6: "proxied" } },
  },
  {
    title: "ports excluded",
    traffic: () => ({ outbound: { excludePorts: [TELL] }, inbound: { excludePorts: [TELL] } }),
    expected: NEITHER,
  },
  {
    title: "the ports alone included",
    traffic: () => ({ outbound: { includeCidrs: [], includePorts: [TELL] }, inbound: { includePorts: [TELL] } }),
    expected: BOTH,
  },
  {
    title: "other ports alone included",
    traffic: () => ({ outbound: { includeCidrs: [], includePorts: [81] }, inbound: { includePorts: [81] } }),
    expected: NEITHER,
  },
  { title: "DNS capture of all", traffic: () => ({ outbound: { dns: { capture: "all" } } }), expected: BOTH },
  {
    title: "DNS capture of one resolver, on another port",
    traffic: ({ v4 }) => ({ outbound: { dns: { capture: "resolv.conf", servers: [v4], port: 15353 } } }),
    expected: BOTH,
  },
  { title: "DNS capture off", traffic: () => ({}), expected: BOTH },
  { title: "preserveSource", traffic: () => ({ inbound: { preserveSource: true } }), expected: BOTH },
  { title: "no preserveSource", traffic: () => ({ inbound: { preserveSource: false } }), expected: BOTH },
  { title: "another outbound port", traffic: () => ({ outbound: { port: 15301 } }), expected: BOTH },
  {
    title: "another inbound port, outbound as at first",
    traffic: () => ({ inbound: { port: 15306 } }),
    expected: BOTH,
  },
  { title: "another name", traffic: () => ({ name: "renamed" }), expected: BOTH },
  { title: "the first name, preserveSource", traffic: () => ({ inbound: { preserveSource: true } }), expected: BOTH },
];

inSomeModes(["ebpf", "iptables"], "a live change", (mode) => {
  let live: LiveLab;

  beforeAll(async () => {
    live = await LiveLab.start(mode, { outbound: OFF, inbound: OFF }, NEITHER);
  });

  afterAll(async () => {
    await live[Symbol.asyncDispose]();
  });

  it("leaves alone what was never intercepted when both directions come on", async () => {
    await live.hold("direct");
    expect(await live.change({}, BOTH)).toEqual([]);
    await live.hold("proxied");
  });

  it.each(changes)("to $title resets nothing, lets nothing by and refuses nothing", async ({ traffic, expected }) => {
    expect(await live.change(traffic(live.lab.server), expected)).toEqual([]);
  });

  it("has given one record for every connection that went on, with all of its bytes", async () => {
    const held = live.pulses.filter(({ title }) => title.startsWith("proxied"));
    expect(held).toHaveLength(4);
    for (const pulse of held) {
      const bytes = await pulse.end();
      const [record] = await live.agent.waitForRecords((one) => one.bytesReceived === bytes);
      expect(record).toMatchObject({ outcome: "closed", bytesSent: bytes, workload: "app" });
    }
    const failed = live.agent.records().filter(({ outcome }) => outcome !== "closed");
    expect(failed).toEqual([]);
    for (const pulse of live.pulses.splice(0)) pulse.destroy();
    await live.agent.stop();
  });
});

/** Most of their time the two that follow wait for listeners to run out. */
const WAITING = { concurrent: true };

const wantedAgain = (mode: Mode): void => {
  it("take connections when those in between have closed", async () => {
    await using live = await LiveLab.start(mode, {}, BOTH);
    await live.hold("first");
    for (const traffic of [{ outbound: { port: 15301 }, inbound: { port: 15306 } }, {}])
      expect(await live.change(traffic, BOTH)).toEqual([]);
    const closed = async (): Promise<boolean> => !/:1530[16]\b/.test(await live.inside("ss", "-ltnH"));
    while (!(await closed()));
    expect(await live.change({ failMode: "deny" }, BOTH)).toEqual([]);
    for (const pulse of live.pulses.splice(0)) await pulse.end();
    await live.agent.stop();
  });
};

const switchedOff = (mode: Mode): void => {
  it("goes when the last connection that needs it has ended, and not before", async () => {
    await using live = await LiveLab.start(mode, { inbound: { preserveSource: true } }, BOTH);
    const held = await live.hold("proxied");
    expect(await live.inside("ip", "rule")).toContain("0x1539");
    expect(await live.change({ outbound: OFF, inbound: OFF }, NEITHER)).toEqual([]);
    const sockets = (): Promise<string> => live.inside("ss", "-ltnH");
    // The listeners close once handshakes under way have had their time.
    for (let waiting = await sockets(); /:1500[16]\b/.test(waiting); waiting = await sockets());
    for (const pulse of held) await pulse.goesOn();
    expect(await live.inside("ip", "rule"), "preserved connections go on").toContain("0x1539");
    const save = mode === "nftables" ? "nft list ruleset" : "iptables-save; ip6tables-save";
    const redirects = async (): Promise<boolean> => /redirect/i.test(await live.inside("sh", "-c", save));
    expect(await redirects()).toBe(mode !== "ebpf");

    for (const pulse of held) await pulse.end();
    const left = async (): Promise<boolean> =>
      (await live.inside("ip", "rule")).includes("0x1539") || (await redirects());
    let settled = false;
    void (async () => {
      while (await left());
      settled = true;
    })();
    await eventually(() => settled);
    live.pulses.splice(0);
    expect(await live.change({}, BOTH)).toEqual([]);
    await live.agent.stop();
  });
};

inSomeModes(["iptables"], "listeners that are wanted again while they run out", wantedAgain, WAITING);
inSomeModes(["ebpf", "tproxy"], "what a direction had that was switched off", switchedOff, WAITING);
