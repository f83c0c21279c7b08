// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, rmdirSync } from "node:fs";
import { constants } from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import { nftablesBackend } from "../../src/intercept/nftables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { askAs } from "../support/asking-process.ts";
import { whyUnusable } from "../support/iptables-save.ts";
import { ip, NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { TcpPeer, TcpServer } from "../support/tcp-peer.ts";
import { anInbound, anOutbound, aSpec, MARK } from "../unit/intercept/iptables/iptables-specs.ts";

const REFUSED = -constants.errno.ECONNREFUSED;

interface Rules {
  readonly title: string;
  readonly missing: () => Promise<string | undefined>;
  readonly apply: (spec: InterceptSpec) => Promise<unknown>;
  readonly verify: (spec: InterceptSpec) => Promise<readonly unknown[]>;
  readonly removeAll: (netnsPath: string) => Promise<unknown>;
}

const iptables = (flavour: "nft" | "legacy"): Rules => ({
  title: `iptables-${flavour}`,
  missing: () => whyUnusable(flavour),
  apply: async (spec) =>
    expect(await iptablesBackend.apply(spec, { flavour })).toMatchObject({ flavour, families: [4, 6] }),
  verify: (spec) => iptablesBackend.verify(spec),
  removeAll: (netnsPath) => iptablesBackend.removeAll(netnsPath),
});
const nftables: Rules = {
  title: "nftables",
  missing: async () => (await nftablesBackend.probe()).reason,
  apply: (spec) => nftablesBackend.apply(spec),
  verify: (spec) => nftablesBackend.verify(spec),
  removeAll: (netnsPath) => nftablesBackend.removeAll(netnsPath),
};

/** Every kind of rules that redirects by NAT; TPROXY has a file of its own. */
describe.each([iptables("nft"), iptables("legacy"), nftables])("traffic under rules of $title", (rules) => {
  const parts: Disposable[] = [];
  let lab: NetLab;
  /** The workload's namespace and the world outside. */
  let pod: NetnsSockets;
  let world: NetnsSockets;

  beforeEach(async (context) => {
    const missing = await rules.missing();
    context.skip(missing !== undefined, missing);
    lab = new NetLab("redir");
    parts.push(lab);
    pod = new NetnsSockets(lab.client.path);
    world = new NetnsSockets(lab.server.path);
    parts.push(pod, world);
    for (const address of ["127.0.0.1", "::1"]) await pod.tellingServer("outbound", address, 15001);
    for (const address of ["0.0.0.0", "::"]) {
      await pod.tellingServer("inbound", address, 15006);
      await pod.tellingServer("app", address, 80);
      await pod.tellingServer("app", address, 15021);
      await world.tellingServer("world", address, 80);
      await world.tellingServer("world", address, 22);
    }
  });

  afterEach(() => {
    for (const part of parts.splice(0).reverse()) part[Symbol.dispose]();
  });

  async function apply(changes: Partial<InterceptSpec>): Promise<void> {
    const spec = aSpec({ target: { kind: "netns", path: lab.client.path }, ...changes });
    await rules.apply(spec);
    expect(await rules.verify(spec)).toEqual([]);
  }

  it("leads outbound connections of both families to the proxy, which learns where they were going", async () => {
    await apply({ outbound: anOutbound() });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({
      who: "outbound",
      original: { address: lab.server.v4, port: 80 },
    });
    expect(await pod.ask(lab.server.v6, 80)).toMatchObject({
      who: "outbound",
      original: { address: lab.server.v6, port: 80 },
    });
  });

  it("leads connections to ports nobody listens on to the proxy too", async () => {
    await apply({ outbound: anOutbound() });
    expect(await pod.ask(lab.server.v4, 4444)).toMatchObject({ who: "outbound", original: { port: 4444 } });
  });

  it("leaves the proxy's own connections alone, by mark", async () => {
    await apply({ outbound: anOutbound() });
    expect(await pod.ask(lab.server.v4, 80, { mark: MARK.value })).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v6, 80, { mark: MARK.value })).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v4, 80, { mark: 0x538 })).toMatchObject({ who: "outbound" });
  });

  it("leaves the proxy's own connections alone, by user and by group", async () => {
    await apply({ outbound: anOutbound(), proxy: { uids: [4001], gids: [4002], external: true } });
    const from = (uid: number, gid: number) => askAs(lab.client.path, { uid, gid }, lab.server.v4, 80);
    expect(await from(4001, 4003)).toMatchObject({ who: "world" });
    expect(await from(4003, 4002)).toMatchObject({ who: "world" });
    expect(await from(4003, 4003)).toMatchObject({ who: "outbound" });
    expect(await askAs(lab.client.path, { uid: 4001 }, lab.server.v6, 80)).toMatchObject({ who: "world" });
  });

  it("leaves excluded ports and excluded ranges of both families alone", async () => {
    await apply({ outbound: anOutbound({ excludePorts: [22] }) });
    expect(await pod.ask(lab.server.v4, 22)).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v6, 22)).toMatchObject({ who: "world" });
    const excludeCidrs = [
      { address: lab.server.v4, prefixLength: 32 },
      { address: lab.server.v6, prefixLength: 128 },
    ];
    await apply({ outbound: anOutbound({ excludeCidrs, includePorts: [80] }) });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v6, 80)).toMatchObject({ who: "world" });
  });

  it("captures only included ranges and included ports when ranges are given", async () => {
    await apply({
      outbound: anOutbound({ includeCidrs: [{ address: "203.0.113.0", prefixLength: 24 }], includePorts: [22] }),
    });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v6, 80)).toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v4, 22)).toMatchObject({ who: "outbound" });
    expect(await pod.ask(lab.server.v6, 22)).toMatchObject({ who: "outbound" });
  });

  it("passes loopback and the namespace's own addresses unless they are to be captured", async () => {
    await apply({ outbound: anOutbound() });
    for (const address of ["127.0.0.1", "127.9.9.9", "::1", lab.client.v4, lab.client.v6]) {
      expect(await pod.ask(address, 80), address).toMatchObject({ who: "app" });
    }
    await apply({ outbound: anOutbound({ captureLoopback: true }) });
    expect(await pod.ask("127.0.0.1", 80)).toMatchObject({
      who: "outbound",
      original: { address: "127.0.0.1", port: 80 },
    });
    expect(await pod.ask("::1", 80)).toMatchObject({ who: "outbound", original: { address: "::1", port: 80 } });
    expect(await pod.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    await apply({ outbound: anOutbound({ captureLocal: true }) });
    expect(await pod.ask("127.0.0.1", 80)).toMatchObject({ who: "app" });
    expect(await pod.ask(lab.client.v4, 80)).toMatchObject({
      who: "outbound",
      original: { address: lab.client.v4, port: 80 },
    });
    expect(await pod.ask(lab.client.v6, 80)).toMatchObject({
      who: "outbound",
      original: { address: lab.client.v6, port: 80 },
    });
  });

  it("leads inbound connections of both families to the proxy, on ports without a listener too", async () => {
    await apply({ inbound: anInbound() });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({
      who: "inbound",
      original: { address: lab.client.v4, port: 80 },
      client: lab.server.v4,
    });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({
      who: "inbound",
      original: { address: lab.client.v6, port: 80 },
    });
    expect(await world.ask(lab.client.v4, 9999)).toMatchObject({
      who: "inbound",
      original: { address: lab.client.v4, port: 9999 },
    });
    expect(await pod.ask(lab.server.v4, 80), "outbound is untouched").toMatchObject({ who: "world" });
  });

  it("leaves excluded inbound ports and excluded clients alone", async () => {
    await apply({ inbound: anInbound() });
    expect(await world.ask(lab.client.v4, 15021)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v6, 15021)).toMatchObject({ who: "app" });
    const excludeCidrs = [{ address: lab.server.v4, prefixLength: 32 }];
    await apply({ inbound: anInbound({ excludeCidrs }) });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({ who: "inbound" });
    await apply({ inbound: anInbound({ includePorts: [15021], excludePorts: [] }) });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v4, 15021)).toMatchObject({ who: "inbound" });
  });

  it("makes no loop of the proxy's connections to its own application", async () => {
    ip("-n", lab.client.netns, "addr", "add", "::6/128", "dev", "lo");
    await apply({ outbound: anOutbound(), inbound: anInbound() });
    expect(await pod.ask(lab.client.v4, 80, { mark: MARK.value, bindAddress: "127.0.0.6" })).toMatchObject({
      who: "app",
      client: "127.0.0.6",
    });
    expect(await pod.ask(lab.client.v6, 80, { mark: MARK.value, bindAddress: "::6" })).toMatchObject({
      who: "app",
      client: "::6",
    });
    expect(await pod.ask(lab.client.v4, 80, { mark: MARK.value }), "by its own address").toMatchObject({ who: "app" });
    expect(await pod.ask("127.0.0.1", 80, { mark: MARK.value })).toMatchObject({ who: "app" });
  });

  it("leads an unmodified sidecar's call of its own pod to the inbound port, once", async () => {
    ip("-n", lab.client.netns, "addr", "add", "::6/128", "dev", "lo");
    await apply({
      outbound: anOutbound(),
      inbound: anInbound(),
      proxy: { mark: MARK, uids: [], gids: [], external: true },
    });
    expect(await pod.ask(lab.client.v4, 80, { mark: MARK.value })).toMatchObject({
      who: "inbound",
      original: { address: lab.client.v4, port: 80 },
    });
    expect(await pod.ask(lab.client.v6, 80, { mark: MARK.value })).toMatchObject({
      who: "inbound",
      original: { address: lab.client.v6, port: 80 },
    });
    expect(await pod.ask(lab.client.v4, 80, { mark: MARK.value, bindAddress: "127.0.0.6" })).toMatchObject({
      who: "app",
    });
    expect(await pod.ask(lab.client.v6, 80, { mark: MARK.value, bindAddress: "::6" })).toMatchObject({ who: "app" });
    expect(await pod.ask(lab.client.v4, 15021, { mark: MARK.value }), "excluded inbound").toMatchObject({ who: "app" });
    expect(await pod.ask(lab.client.v4, 80), "the application itself").toMatchObject({ who: "app" });
  });

  it("captures by the group a socket was made under", async () => {
    const from = (gid: number) => askAs(lab.client.path, { uid: 4003, gid }, lab.server.v4, 80);
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "all-except", groups: [4004, 4005] } }) });
    expect(await from(4004)).toMatchObject({ who: "world" });
    expect(await from(4006)).toMatchObject({ who: "outbound" });
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [4004, 4005] } }) });
    expect(await from(4005)).toMatchObject({ who: "outbound" });
    expect(await from(4006)).toMatchObject({ who: "world" });
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [] } }) });
    expect(await from(4005)).toMatchObject({ who: "world" });
  });

  it("leaves excluded interfaces alone, in both directions", async () => {
    const interfaces = { exclude: ["eth0"], reroute: [] };
    await apply({ outbound: anOutbound({ captureLocal: true }), inbound: anInbound(), interfaces });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "world" });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({ who: "app" });
    expect(await pod.ask(lab.client.v4, 80), "by lo").toMatchObject({ who: "outbound" });
  });

  it("takes what arrives by a rerouted interface for outbound traffic", async () => {
    ip("-n", lab.client.netns, "addr", "add", "203.0.113.1/32", "dev", "lo");
    ip("-n", lab.server.netns, "route", "add", "203.0.113.0/24", "via", lab.client.v4);
    await pod.tellingServer("virtual", lab.client.v4, 15001);
    const interfaces = { exclude: [], reroute: ["eth0"] };
    const excludeCidrs = [{ address: lab.client.v4, prefixLength: 32 }];
    await apply({ outbound: anOutbound({ excludeCidrs }), inbound: anInbound(), interfaces });
    expect(await world.ask("203.0.113.1", 80)).toMatchObject({
      who: "virtual",
      original: { address: "203.0.113.1", port: 80 },
    });
    expect(await world.ask(lab.client.v4, 80), "not inbound either").toMatchObject({ who: "app" });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "outbound" });
  });

  it("keeps established connections through changes of the rules", async () => {
    const netnsFd = pod.fd;
    await using outbound = new TcpServer({ address: "127.0.0.1", port: 15101, netnsFd }).echo();
    await using inbound = new TcpServer({ address: "::", port: 15106, netnsFd }).echo();
    const specs = { outbound: anOutbound({ port: outbound.port }), inbound: anInbound({ port: inbound.port }) };
    await apply(specs);
    const connections = await Promise.all([
      TcpPeer.connect({ address: lab.server.v4, port: 80, netnsFd: pod.fd }),
      TcpPeer.connect({ address: lab.client.v6, port: 80, netnsFd: world.fd }),
    ]);
    const works = async (word: string): Promise<void> => {
      for (const [i, peer] of connections.entries()) {
        const heard = await peer.write(word).bytes((words += i === 0 ? word : "").length);
        expect(heard.toString()).toBe(words);
      }
    };
    let words = "";
    await works("before");
    const ranges = Array.from({ length: 300 }, (_, i) => ({
      address: `198.18.${i >> 8}.${i & 255}`,
      prefixLength: 32,
    }));
    await apply({ outbound: anOutbound({ excludePorts: [80], excludeCidrs: ranges }) });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "world" });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({ who: "app" });
    await works(", after");
    await apply(specs);
    await works(" and again");
    for (const peer of connections) peer.reset();
  });

  it("refuses connections while the proxy is away", async () => {
    await apply({ outbound: anOutbound({ port: 15999 }), inbound: anInbound({ port: 15998 }) });
    expect(await pod.ask(lab.server.v4, 80)).toBe(REFUSED);
    expect(await pod.ask(lab.server.v6, 80)).toBe(REFUSED);
    expect(await world.ask(lab.client.v4, 80)).toBe(REFUSED);
    expect(await world.ask(lab.client.v6, 80)).toBe(REFUSED);
  });

  describe("of cgroups", () => {
    const mount = findCgroup2();
    const outer = `${mount?.mountPoint}/shunt-test-redir-${process.pid}`;
    const inner = `${outer}/inner`;

    beforeEach((context) => {
      context.skip(!mount, "no cgroup2 file system is mounted");
      for (const path of [outer, inner]) {
        mkdirSync(path);
        parts.push({ [Symbol.dispose]: () => rmdirSync(path) });
      }
    });

    function ofCgroup(name: string, path: string, port: number, changes = {}): Partial<InterceptSpec> {
      return {
        name,
        target: { kind: "cgroup", path, netnsPath: lab.client.path },
        outbound: anOutbound({ port, captureLoopback: true, captureLocal: true, ...changes }),
      };
    }

    it("captures everything of the cgroup and its descendants, and nothing of any other process", async () => {
      await apply(ofCgroup("cmd", outer, 15001));
      for (const cgroup of [outer, inner]) {
        for (const address of [lab.server.v4, lab.server.v6, "127.0.0.1", "::1", lab.client.v4]) {
          expect(await askAs(lab.client.path, { cgroup }, address, 80), address).toMatchObject({
            who: "outbound",
            original: { address, port: 80 },
          });
        }
      }
      expect(await askAs(lab.client.path, {}, lab.server.v4, 80)).toMatchObject({ who: "world" });
      expect(await askAs(lab.client.path, {}, "127.0.0.1", 80)).toMatchObject({ who: "app" });
      expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    });

    it("lets the innermost cgroup decide, in whichever order the rules came", async () => {
      await pod.tellingServer("second", "127.0.0.1", 15101);
      for (const order of [
        [ofCgroup("outer", outer, 15001), ofCgroup("inner", inner, 15101, { excludePorts: [22] })],
        [ofCgroup("inner", inner, 15101, { excludePorts: [22] }), ofCgroup("outer", outer, 15001)],
      ]) {
        for (const changes of order) await apply(changes);
        expect(await askAs(lab.client.path, { cgroup: inner }, lab.server.v4, 80)).toMatchObject({ who: "second" });
        expect(
          await askAs(lab.client.path, { cgroup: inner }, lab.server.v4, 22),
          "not the outer one's either",
        ).toMatchObject({ who: "world" });
        expect(await askAs(lab.client.path, { cgroup: outer }, lab.server.v4, 80)).toMatchObject({ who: "outbound" });
        await rules.removeAll(lab.client.path);
      }
    });
  });
});
