// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { tproxyBackend } from "../../src/intercept/tproxy/backend.ts";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { inNetns, rulesOf, whyUnusable } from "../support/iptables-save.ts";
import { ALL_MODES } from "../support/modes.ts";
import { ip, NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { TestCgroup } from "../support/test-cgroup.ts";
import { ProgramFolder } from "../support/wrapped-programs.ts";
import { anInbound, anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

/** How often what takes seconds is done; a second time it meets what the first has left. */
const ROUNDS = ALL_MODES ? 2 : 1;

describe.each(["nft", "legacy"] as const)("repair of rules of iptables-%s", (flavour) => {
  const parts: Disposable[] = [];
  const later: AsyncDisposable[] = [];
  let lab: NetLab;
  let pod: NetnsSockets;
  let world: NetnsSockets;
  let spec: InterceptSpec;
  const tool = (...args: string[]): string => {
    const [program = "", ...rest] = args;
    return inNetns(lab.client.path, `${program}-${flavour}`, ...rest);
  };

  beforeEach(async (context) => {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
    lab = new NetLab("fix");
    parts.push(lab);
    pod = new NetnsSockets(lab.client.path);
    world = new NetnsSockets(lab.server.path);
    parts.push(pod, world);
    for (const address of ["0.0.0.0", "::"]) {
      await pod.tellingServer("proxy", address, 15001);
      await pod.tellingServer("proxy", address, 15006, { transparent: true });
      await pod.tellingServer("direct", address, 80);
      await world.tellingServer("direct", address, 80);
    }
    spec = aSpec({
      target: { kind: "netns", path: lab.client.path },
      outbound: anOutbound({ dns: { kind: "all", port: 15053 } }),
      inbound: anInbound(),
    });
  });

  afterEach(async () => {
    for (const part of parts.splice(0).reverse()) part[Symbol.dispose]();
    for (const part of later.splice(0)) await part[Symbol.asyncDispose]();
  });

  /** What lies between two transactions lasts long enough for many connections. */
  function slowDown(): void {
    const slow = new ProgramFolder();
    const path = process.env["PATH"];
    process.env["PATH"] = `${slow.path}:${path}`;
    parts.push(slow, { [Symbol.dispose]: () => void (process.env["PATH"] = path) });
    for (const family of ["iptables", "ip6tables"]) {
      for (const kind of ["", "-nft", "-legacy"]) {
        slow.script(`${family}${kind}-restore`, ['"$REAL" "$@"; status=$?', "sleep 0.1", "exit $status"]);
      }
    }
  }

  /** Connects in both directions and families, one after another each, until `work` is done. */
  async function underLoad(work: () => Promise<void>): Promise<Map<string, number>> {
    const fates = new Map<string, number>();
    const done = new AbortController();
    const asking = [
      { from: pod, to: lab.server.v4 },
      { from: pod, to: lab.server.v6 },
      { from: world, to: lab.client.v4 },
      { from: world, to: lab.client.v6 },
    ].map(async ({ from, to }) => {
      while (!done.signal.aborted) {
        const told = await from.ask(to, 80);
        const fate = typeof told === "object" && told.who === "proxy" ? "proxy" : `${to}: ${JSON.stringify(told)}`;
        fates.set(fate, (fates.get(fate) ?? 0) + 1);
      }
    });
    try {
      await work();
    } finally {
      done.abort();
      await Promise.all(asking);
    }
    return fates;
  }

  it("and exchange of one kind for the other let nothing pass by the proxy", async (context) => {
    context.skip(!findCgroup2(), "no cgroup2 file system is mounted");
    await iptablesBackend.apply(spec, { flavour });
    // With tables that are there for another workload, the order of changes is not the best for ours.
    const cgroup = new TestCgroup();
    later.push(cgroup);
    const target = { kind: "cgroup", path: cgroup.path, netnsPath: lab.client.path } as const;
    await iptablesBackend.apply(aSpec({ name: "other", target, outbound: anOutbound() }), { flavour });
    slowDown();
    const fates = await underLoad(async () => {
      for (let round = 0; round < ROUNDS; round++) {
        for (const backend of [tproxyBackend, iptablesBackend]) {
          const applied = await backend.apply(spec, { flavour });
          expect(applied.changed).toBe(true);
          expect(await applied.verify()).toEqual([]);
        }
      }
    });
    expect([...fates.keys()]).toEqual(["proxy"]);
    expect(rulesOf(lab.client.path, flavour), "the guard is gone").not.toContain("GUARD");
  });

  it("find and repair what was lost besides, while connections go on", async () => {
    await tproxyBackend.apply(spec, { flavour });
    slowDown();
    const fates = await underLoad(async () => {
      for (let round = 0; round < ROUNDS; round++) {
        tool("iptables", "-t", "raw", "-F", "SHUNT_OUTPUT");
        tool("ip6tables", "-t", "nat", "-A", "SHUNT_4b5e57f6_OUT", "-p", "udp", "-j", "RETURN");
        tool("ip6tables", "-t", "mangle", "-A", "SHUNT_PREROUTING", "-p", "udp", "-j", "RETURN");
        ip("-n", lab.client.netns, "route", "flush", "table", "9530");
        ip("-n", lab.client.netns, "-6", "rule", "del", "fwmark", "0x253a/0x3fff", "lookup", "9530");
        const drift = await tproxyBackend.verify(spec);
        expect(drift.map(({ family, table, chain, kind }) => `${family} ${table} ${chain} ${kind}`)).toEqual([
          "4 raw SHUNT_OUTPUT missing",
          "6 mangle SHUNT_PREROUTING changed",
          "6 nat SHUNT_4b5e57f6_OUT changed",
          "4 ip route 9530 missing",
          "6 ip rule 9530 missing",
        ]);
        expect(await tproxyBackend.adopt(spec)).toBeUndefined();
        const applied = await tproxyBackend.apply(spec, { flavour });
        expect(applied.changed).toBe(true);
        expect(await applied.verify()).toEqual([]);
        expect(await tproxyBackend.adopt(spec)).toMatchObject({ changed: false, flavour });
      }
    });
    expect([...fates.keys()]).toEqual(["proxy"]);
  });

  it("make one ip rule of several equal ones", async () => {
    await tproxyBackend.apply(spec, { flavour });
    ip("-n", lab.client.netns, "rule", "add", "fwmark", "0x253a/0x3fff", "lookup", "9530", "pref", "77");
    expect(await tproxyBackend.verify(spec)).toMatchObject([{ family: 4, table: "ip rule", kind: "changed" }]);
    expect((await tproxyBackend.apply(spec)).changed).toBe(true);
    expect(ip("-n", lab.client.netns, "rule", "show").match(/lookup 9530/g)).toHaveLength(1);
  });

  it("lists what others, and other times, have left, and removes it only when asked", async () => {
    const other = flavour === "nft" ? "legacy" : "nft";
    await iptablesBackend.apply(spec, { flavour });
    const clean = rulesOf(lab.client.path, flavour);
    expect(await iptablesBackend.leftovers(lab.client.path)).toEqual([]);
    const elsewhere = inNetns.bind(undefined, lab.client.path, `iptables-${other}`);
    elsewhere("-t", "nat", "-N", "SHUNT_0000_OLD");
    elsewhere("-t", "nat", "-A", "SHUNT_0000_OLD", "-j", "RETURN");
    elsewhere("-t", "nat", "-A", "OUTPUT", "-j", "SHUNT_0000_OLD");
    for (const rule of ISTIO_INIT) tool("iptables", ...rule.split(" "));
    ip("-n", lab.client.netns, "rule", "add", "fwmark", "1337", "lookup", "133");
    ip("-n", lab.client.netns, "route", "add", "local", "default", "dev", "lo", "table", "133");
    const found = await iptablesBackend.leftovers(lab.client.path, { live: ["web"] });
    const told = found.map(({ who, kind, table, what }) => `${who} ${kind} ${table}: ${what.replace(/^\d+:\s*/, "")}`);
    const istio = [
      "istio rule mangle: -A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
      "istio rule nat: -A PREROUTING -p tcp -j ISTIO_INBOUND",
      "istio chain nat: ISTIO_INBOUND, 1 rules",
      "istio chain nat: ISTIO_IN_REDIRECT, 1 rules",
      "istio ip rule 133: from all fwmark 0x539 lookup 133",
    ];
    const old = ["shunt rule nat: -A OUTPUT -j SHUNT_0000_OLD", "shunt chain nat: SHUNT_0000_OLD, 1 rules"];
    expect(told.toSorted()).toEqual([...istio, ...old].toSorted());
    expect(rulesOf(lab.client.path, flavour), "nothing has changed").toContain("ISTIO_INBOUND");
    await iptablesBackend.removeLeftovers(lab.client.path, ({ who }) => who === "istio", { live: ["web"] });
    expect(rulesOf(lab.client.path, flavour)).toBe(clean);
    expect(ip("-n", lab.client.netns, "rule", "show")).not.toContain("133");
    const rest = await iptablesBackend.leftovers(lab.client.path, { live: ["web"] });
    expect(rest.map(({ who }) => who)).toEqual(["shunt", "shunt"]);
    await iptablesBackend.removeLeftovers(lab.client.path, () => true, { live: ["web"] });
    expect(rulesOf(lab.client.path, other)).not.toContain("SHUNT");
    expect(await iptablesBackend.verify(spec)).toEqual([]);
  });
});

/** A part of what istio-iptables makes. */
const ISTIO_INIT = [
  "-t nat -N ISTIO_INBOUND",
  "-t nat -N ISTIO_IN_REDIRECT",
  "-t nat -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
  "-t nat -A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
  "-t nat -A PREROUTING -p tcp -j ISTIO_INBOUND",
  "-t mangle -A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark",
];
