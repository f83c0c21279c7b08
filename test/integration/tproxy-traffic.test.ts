// SPDX-License-Identifier: Apache-2.0
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { passAll } from "../../src/intercept/pass-all.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { tproxyBackend } from "../../src/intercept/tproxy/backend.ts";
import { makeListenSocket } from "../../src/net/listen-socket.ts";
import { eventually, patienceMs } from "../support/inbox.ts";
import { inNetns, rulesOf, whyUnusable } from "../support/iptables-save.ts";
import { ip, NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { TcpPeer } from "../support/tcp-peer.ts";
import { ProgramFolder } from "../support/wrapped-programs.ts";
import { anInbound, anOutbound, aSpec, MARK } from "../unit/intercept/iptables/iptables-specs.ts";

describe.each(["nft", "legacy"] as const)("TPROXY rules of iptables-%s", (flavour) => {
  const parts: Disposable[] = [];
  let lab: NetLab;
  /** The workload's namespace and the world outside. */
  let pod: NetnsSockets;
  let world: NetnsSockets;

  beforeEach(async (context) => {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
    const { ok, reason } = await tproxyBackend.probe();
    context.skip(!ok, reason);
    lab = new NetLab("tpx");
    parts.push(lab);
    pod = new NetnsSockets(lab.client.path);
    world = new NetnsSockets(lab.server.path);
    parts.push(pod, world);
    ip("-n", lab.client.netns, "addr", "add", "::6/128", "dev", "lo");
    for (const address of ["127.0.0.1", "::1"]) {
      await pod.tellingServer("outbound", address, 15001);
      await pod.tellingServer("inbound", address, 15006, { transparent: true });
    }
    for (const address of ["0.0.0.0", "::"]) {
      await pod.tellingServer("app", address, 80);
      await pod.tellingServer("app", address, 15021);
      await world.tellingServer("world", address, 80);
      await world.tellingServer("world", address, 22);
    }
  });

  afterEach(() => {
    for (const part of parts.splice(0).reverse()) part[Symbol.dispose]();
  });

  function specOf(changes: Partial<InterceptSpec>): InterceptSpec {
    return aSpec({ target: { kind: "netns", path: lab.client.path }, ...changes });
  }

  async function apply(changes: Partial<InterceptSpec>): Promise<void> {
    const rules = await tproxyBackend.apply(specOf(changes), { flavour });
    expect(rules).toMatchObject({ flavour, families: [4, 6], changed: true });
    expect(await rules.verify()).toEqual([]);
  }

  const both = { outbound: anOutbound(), inbound: anInbound() };

  it("hand inbound connections of both families over as they are, on ports without a listener too", async () => {
    await apply({ inbound: anInbound() });
    for (const [address, client] of [
      [lab.client.v4, lab.server.v4],
      [lab.client.v6, lab.server.v6],
    ] as const) {
      for (const port of [80, 9999]) {
        expect(await world.ask(address, port)).toMatchObject({ who: "inbound", local: { address, port }, client });
      }
    }
  });

  it("hand over connections to addresses that are not of this host", async () => {
    ip("-n", lab.server.netns, "route", "add", "203.0.113.7/32", "via", lab.client.v4);
    ip("-n", lab.server.netns, "-6", "route", "add", "fd77::7/128", "via", lab.client.v6);
    await apply({ inbound: anInbound() });
    for (const address of ["203.0.113.7", "fd77::7"]) {
      expect(await world.ask(address, 443)).toMatchObject({ who: "inbound", local: { address, port: 443 } });
    }
  });

  it("leave excluded ports, clients and interfaces alone", async () => {
    await apply({ inbound: anInbound() });
    expect(await world.ask(lab.client.v4, 15021)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v6, 15021)).toMatchObject({ who: "app" });
    await apply({ inbound: anInbound({ excludeCidrs: [{ address: lab.server.v4, prefixLength: 32 }] }) });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({ who: "inbound" });
    await apply({ inbound: anInbound({ includePorts: [15021], excludePorts: [] }) });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    expect(await world.ask(lab.client.v4, 15021)).toMatchObject({ who: "inbound" });
    await apply({ ...both, interfaces: { exclude: ["eth0"], reroute: [] } });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    expect(await pod.ask(lab.server.v6, 80)).toMatchObject({ who: "world" });
  });

  it("lead outbound connections to the proxy, and let the proxy's own and their answers pass", async () => {
    await apply(both);
    for (const address of [lab.server.v4, lab.server.v6]) {
      expect(await pod.ask(address, 80)).toMatchObject({ who: "outbound", original: { address, port: 80 } });
      expect(await pod.ask(address, 80, { mark: MARK.value })).toMatchObject({ who: "world" });
    }
    await apply({ ...both, outbound: anOutbound({ excludePorts: [22] }) });
    expect(await pod.ask(lab.server.v4, 22), "the application's own").toMatchObject({ who: "world" });
    expect(await pod.ask(lab.server.v6, 22)).toMatchObject({ who: "world" });
  });

  it("make no loop of the proxy's connections to its own application", async () => {
    await apply(both);
    for (const [address, source] of [
      [lab.client.v4, "127.0.0.6"],
      [lab.client.v6, "::6"],
    ] as const) {
      expect(await pod.ask(address, 80, { mark: MARK.value, bindAddress: source })).toMatchObject({
        who: "app",
        client: source,
      });
      expect(await pod.ask(address, 80, { mark: MARK.value }), "by its own address").toMatchObject({ who: "app" });
      expect(await pod.ask(address, 80), "the application itself").toMatchObject({ who: "app" });
    }
    expect(await pod.ask("127.0.0.1", 80)).toMatchObject({ who: "app" });
  });

  it("lead an unmodified sidecar's call of its own pod to the inbound port, once", async () => {
    await apply({ ...both, proxy: { mark: MARK, uids: [], gids: [], external: true } });
    for (const address of [lab.client.v4, lab.client.v6]) {
      const own = { mark: MARK.value };
      expect(await pod.ask(address, 80, own)).toMatchObject({ who: "inbound", local: { address, port: 80 } });
      expect(await pod.ask(address, 15021, own), "excluded inbound").toMatchObject({ who: "app" });
      const source = address.includes(":") ? "::6" : "127.0.0.6";
      expect(await pod.ask(address, 80, { ...own, bindAddress: source })).toMatchObject({ who: "app" });
      expect(await pod.ask(address, 80), "the application itself").toMatchObject({ who: "app" });
      expect(await world.ask(address, 80)).toMatchObject({ who: "inbound" });
    }
  });

  it("do not touch connections from before", async () => {
    const fd = makeListenSocket({ address: "0.0.0.0", port: 7000, netnsFd: pod.fd });
    const server = createServer((socket) => socket.pipe(socket)).listen({ fd });
    const peer = await TcpPeer.connect({ address: lab.client.v4, port: 7000, netnsFd: world.fd });
    await apply(both);
    peer.write("still here");
    expect(String(await peer.bytes(10))).toBe("still here");
    peer.socket.destroy();
    server.close();
  });

  it("keep what they have led to the proxy when the policy changes, and when they go", async () => {
    const fd = makeListenSocket({ address: "127.0.0.1", port: 15106, netnsFd: pod.fd, transparent: true });
    const server = createServer((socket) => socket.pipe(socket)).listen({ fd });
    ip("-n", lab.server.netns, "route", "add", "203.0.113.7/32", "via", lab.client.v4);
    const spec = specOf({ inbound: anInbound({ port: 15106 }) });
    await tproxyBackend.apply(spec, { flavour });
    const peer = await TcpPeer.connect({ address: "203.0.113.7", port: 80, netnsFd: world.fd });
    const local = await TcpPeer.connect({ address: lab.client.v4, port: 80, netnsFd: world.fd });
    await tproxyBackend.apply(passAll(spec), { flavour });
    peer.write("one");
    expect(String(await peer.bytes(3))).toBe("one");
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "app" });
    await tproxyBackend.remove(lab.client.path, "web");
    local.write("two");
    expect(String(await local.bytes(3)), "to an address of the host").toBe("two");
    for (const one of [peer, local]) one.socket.destroy();
    server.close();
  });

  it("hand over a connection that reopens one in TIME_WAIT", async () => {
    await apply({ inbound: anInbound() });
    // The server ends first, so that its side waits; the client's is gone.
    for (const [address, bindAddress] of [
      [lab.client.v4, lab.server.v4],
      [lab.client.v6, lab.server.v6],
    ] as const) {
      for (let round = 0; round < 3; round++) {
        expect(await world.ask(address, 80, { bindAddress, bindPort: 33_333 })).toMatchObject({ who: "inbound" });
        await eventually(() => inNetns(lab.client.path, "ss", "-Htan", "state", "time-wait").includes(":33333"));
      }
    }
  });

  it("give no answer while the proxy is away, neither the application's", async () => {
    await apply({ inbound: anInbound({ port: 15998 }) });
    const attempt = TcpPeer.connect({ address: lab.client.v4, port: 80, netnsFd: world.fd });
    const dropped = new RegExp("^\\[([1-9]\\d*):\\d+\\].* -j TPROXY", "m");
    const deadline = performance.now() + patienceMs(10_000);
    // Counted twice: the SYN, and the same again a second later, so that nobody answered the first.
    for (;;) {
      const seen = dropped.exec(inNetns(lab.client.path, `iptables-${flavour}-save`, "-c", "-t", "mangle"))?.[1];
      if (Number(seen) >= 2) break;
      if (performance.now() > deadline) throw new Error("no second SYN came");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // Then the proxy comes back, and the third is taken.
    await pod.tellingServer("inbound", "127.0.0.1", 15998, { transparent: true });
    const peer = await attempt;
    expect(JSON.parse(String(await peer.toEnd()))).toMatchObject({ who: "inbound" });
    peer.socket.destroy();
  });

  it("take every rule and route away again", async () => {
    const before = [rulesOf(lab.client.path, flavour), routing()];
    const applied = await tproxyBackend.apply(specOf(both), { flavour });
    expect(routing()).toMatch(/fwmark 0x253a\/0x3fff lookup 9530\n[^]*local default dev lo[^]*fwmark 0x253a/);
    expect(await tproxyBackend.findOurs(lab.client.path)).toEqual(["web"]);
    const again = await tproxyBackend.apply(specOf(both), { flavour });
    expect(again.changed).toBe(false);
    await tproxyBackend.apply(specOf({ ...both, name: "second", inbound: anInbound({ port: 15106 }) }), { flavour });
    await tproxyBackend.remove(lab.client.path, "second");
    expect(await applied.verify(), "the other one still needs the route").toEqual([]);
    await applied.remove();
    expect([rulesOf(lab.client.path, flavour), routing()]).toEqual(before);
  });

  it("leave nothing behind when the routing or the last of them is refused", async () => {
    const before = [rulesOf(lab.client.path, flavour), routing()];
    const path = process.env["PATH"];
    const refusals = [
      { program: "ip", when: '*"-6 rule add"*', code: "ERR_IPTABLES_ROUTING" },
      {
        program: `ip6tables${flavour === "nft" ? "" : "-legacy"}-restore`,
        when: "*noflush*",
        code: "ERR_IPTABLES_APPLY",
      },
    ];
    for (const { program, when, code } of refusals) {
      using refusing = new ProgramFolder();
      // What runs in a scratch namespace has a shell for its parent.
      const refusal = `case "$*" in ${when}) [ "$(cat /proc/$PPID/comm)" = sh ] || { echo no >&2; exit 1; };; esac`;
      refusing.script(program, [refusal, 'exec "$REAL" "$@"']);
      process.env["PATH"] = `${refusing.path}:${path}`;
      try {
        await expect(tproxyBackend.apply(specOf(both), { flavour })).rejects.toMatchObject({ code });
      } finally {
        process.env["PATH"] = path;
      }
      expect([rulesOf(lab.client.path, flavour), routing()], program).toEqual(before);
    }
  });

  function routing(): string {
    const show = (...args: string[]): string => {
      try {
        return ip("-n", lab.client.netns, ...args);
      } catch {
        // The table has never been.
        return "";
      }
    };
    return ["-4", "-6"]
      .flatMap((family) => [show(family, "rule", "show"), show(family, "route", "show", "table", "9530")])
      .join("");
  }
});
