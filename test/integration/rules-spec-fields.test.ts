// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decide } from "../../src/intercept/decision.ts";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { InterceptSpec } from "../../src/intercept/spec.ts";
import { tproxyBackend } from "../../src/intercept/tproxy/backend.ts";
import { askAs } from "../support/asking-process.ts";
import { eventually, patienceMs } from "../support/inbox.ts";
import { inNetns, whyUnusable } from "../support/iptables-save.ts";
import { ALL_MODES } from "../support/modes.ts";
import { ip, NetLab } from "../support/net-lab.ts";
import { NetnsSockets } from "../support/netns-sockets.ts";
import { anInbound, anOutbound, aSpec } from "../unit/intercept/iptables/iptables-specs.ts";

/** A segment of no connection, with a checksum that can't be right. */
const INVALID_SEGMENT = `
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.sendto(bytes([200, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 4, 0, 18, 52, 0, 0]), (sys.argv[1], 0))
`;

const cells = (["nft", "legacy"] as const)
  .flatMap((flavour) => [iptablesBackend, tproxyBackend].map((backend) => ({ flavour, backend, name: backend.name })))
  // Each flavour and each back-end once.
  .filter(({ flavour, backend }) => ALL_MODES || (flavour === "nft") === (backend === tproxyBackend));

describe.each(cells)("rules of iptables-$flavour, inbound by $name", ({ flavour, backend }) => {
  const parts: Disposable[] = [];
  let lab: NetLab;
  let pod: NetnsSockets;
  let world: NetnsSockets;

  beforeEach(async (context) => {
    const missing = await whyUnusable(flavour);
    context.skip(missing !== undefined, missing);
    lab = new NetLab("fld");
    parts.push(lab);
    pod = new NetnsSockets(lab.client.path);
    world = new NetnsSockets(lab.server.path);
    parts.push(pod, world);
    for (const address of ["0.0.0.0", "::"]) {
      await pod.tellingServer("outbound", address, 15001);
      await pod.tellingServer("inbound", address, 15006, { transparent: true });
      await pod.tellingServer("app", address, 80);
      await world.tellingServer("world", address, 80);
      await world.tellingServer("world", address, 22);
    }
  });

  afterEach(() => {
    for (const part of parts.splice(0).reverse()) part[Symbol.dispose]();
  });

  async function apply(changes: Partial<InterceptSpec>): Promise<void> {
    const spec = aSpec({
      target: { kind: "netns", path: lab.client.path },
      outbound: anOutbound(),
      inbound: anInbound(),
      ...changes,
    });
    const rules = await backend.apply(spec, { flavour });
    expect(rules).toMatchObject({ flavour, changed: true });
    expect(await rules.verify()).toEqual([]);
  }

  it("know the proxy by any of several users and groups", async () => {
    await apply({ proxy: { uids: [4001, 4002], gids: [4003, 4004], external: false } });
    const from = (uid: number, gid: number) => askAs(lab.client.path, { uid, gid }, lab.server.v4, 80);
    for (const [uid, gid] of [
      [4001, 4100],
      [4002, 4100],
      [4100, 4003],
      [4100, 4004],
    ] as const) {
      expect(await from(uid, gid), `${uid}:${gid}`).toMatchObject({ who: "world" });
    }
    expect(await from(4003, 4001)).toMatchObject({ who: "outbound" });
  });

  it("lead an external proxy that calls its own pod to where decision.ts says", async () => {
    await pod.tellingServer("app", "0.0.0.0", 22);
    await pod.tellingServer("app", "0.0.0.0", 53);
    const proxy = { uids: [4001], gids: [], external: true };
    const outbound = anOutbound({ excludePorts: [22], dns: { kind: "all", port: 15053 } });
    await apply({ proxy, outbound });
    const spec = aSpec({ proxy, outbound, inbound: anInbound() });
    const who = { uid: 4001, gid: 4100 };
    for (const address of [lab.client.v4, "127.0.0.1", "127.0.0.2", "127.0.0.6"]) {
      for (const port of [80, 22, 53]) {
        const localAddresses = [lab.client.v4];
        const question = { direction: "outbound", transport: "tcp", fromProxy: false, owner: who } as const;
        const { reason } = decide(spec, { ...question, address, port, localAddresses });
        expect(reason).toBe(address === lab.client.v4 ? "proxy-to-self" : "own-traffic");
        const expected = reason === "proxy-to-self" ? "inbound" : "app";
        expect(await askAs(lab.client.path, who, address, port), `${address}:${port}`).toMatchObject({ who: expected });
      }
    }
  });

  it("capture by the group a socket was made under", async () => {
    const from = (gid: number, address: string) => askAs(lab.client.path, { uid: 4100, gid }, address, 80);
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [4201, 4202] } }) });
    for (const address of [lab.server.v4, lab.server.v6]) {
      expect(await from(4201, address)).toMatchObject({ who: "outbound" });
      expect(await from(4202, address)).toMatchObject({ who: "outbound" });
      expect(await from(4203, address)).toMatchObject({ who: "world" });
    }
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "all-except", groups: [4201, 4202] } }) });
    expect(await from(4201, lab.server.v4)).toMatchObject({ who: "world" });
    expect(await from(4202, lab.server.v4)).toMatchObject({ who: "world" });
    expect(await from(4203, lab.server.v4)).toMatchObject({ who: "outbound" });
    await apply({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [] } }) });
    expect(await from(4201, lab.server.v6)).toMatchObject({ who: "world" });
  });

  it("leave excluded interfaces alone, in both directions", async () => {
    await apply({ interfaces: { exclude: ["eth0"], reroute: [] } });
    for (const [out, into] of [
      [lab.server.v4, lab.client.v4],
      [lab.server.v6, lab.client.v6],
    ] as const) {
      expect(await pod.ask(out, 80)).toMatchObject({ who: "world" });
      expect(await world.ask(into, 80)).toMatchObject({ who: "app" });
    }
    await apply({ interfaces: { exclude: ["eth1"], reroute: [] } });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "outbound" });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "inbound" });
  });

  it("leave IPv6 alone when told to", async () => {
    await apply({ ipv6: false });
    expect(await pod.ask(lab.server.v4, 80)).toMatchObject({ who: "outbound" });
    expect(await pod.ask(lab.server.v6, 80)).toMatchObject({ who: "world" });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "inbound" });
    expect(await world.ask(lab.client.v6, 80)).toMatchObject({ who: "app" });
    expect(inNetns(lab.client.path, `ip6tables-${flavour}-save`)).not.toContain("SHUNT");
  });

  it("capture what comes from a machine behind the pod as if the pod had sent it", async () => {
    const vm = new MachineBehind(lab);
    parts.push(vm);
    const inside = new NetnsSockets(vm.path);
    parts.push(inside);
    await inside.tellingServer("machine", "0.0.0.0", 80);
    const reroute = { exclude: [], reroute: ["vm0"] };
    await apply({ interfaces: reroute, outbound: anOutbound({ excludePorts: [22] }) });
    for (const address of [lab.server.v4, lab.server.v6]) {
      expect(await inside.ask(address, 80)).toMatchObject({ who: "outbound", original: { address, port: 80 } });
      expect(await inside.ask(address, 22), "excluded").toMatchObject({ who: "world" });
    }
    expect(await inside.ask(lab.client.v4, 80), "the pod itself, as Istio has it").toMatchObject({ who: "outbound" });
    expect(await pod.ask(vm.v4, 80), "from the pod").toMatchObject({ who: "outbound" });
    expect(await world.ask(lab.client.v4, 80)).toMatchObject({ who: "inbound" });
    await apply({ interfaces: reroute, outbound: anOutbound({ includeCidrs: [] }) });
    expect(await inside.ask(lab.server.v4, 80), "not included").toMatchObject({ who: "world" });
  });

  it("drop packets that belong to no connection, when told to", async () => {
    await apply({ dropInvalid: true });
    for (const [address, program] of [
      [lab.client.v4, `iptables-${flavour}-save`],
      [lab.client.v6, `ip6tables-${flavour}-save`],
    ] as const) {
      const dropped = (): number => {
        const text = inNetns(lab.client.path, program, "-c", "-t", "mangle");
        return Number(/^\[(\d+):\d+\] -A SHUNT_\w+_INVALID .*-j DROP$/m.exec(text)?.[1]);
      };
      expect(dropped()).toBe(0);
      execFileSync("nsenter", [`--net=${lab.server.path}`, "python3", "-c", INVALID_SEGMENT, address], {
        timeout: patienceMs(20_000),
      });
      expect(await eventually(() => dropped() > 0)).toBe(true);
      expect(await world.ask(address, 80), "what is valid").toMatchObject({ who: "inbound" });
    }
  });
});

/** A namespace that reaches the world through the client's namespace of a lab, by its interface vm0. */
class MachineBehind implements Disposable {
  readonly path: string;
  readonly v4 = "10.98.7.2";
  readonly #netns: string;

  constructor(lab: NetLab) {
    this.#netns = `shunt-test-${process.pid}-vm-${randomBytes(2).toString("hex")}`;
    this.path = `/run/netns/${this.#netns}`;
    const { client, server } = lab;
    const run = (netns: string, commands: readonly string[]): void => {
      for (const command of commands) ip("-n", netns, ...command.split(" "));
    };
    ip("netns", "add", this.#netns);
    run(client.netns, [`link add vm0 type veth peer name eth0 netns ${this.#netns}`]);
    run(client.netns, ["addr add 10.98.7.1/24 dev vm0", "addr add fd98::1/64 dev vm0 nodad", "link set vm0 up"]);
    run(this.#netns, ["link set lo up", "addr add 10.98.7.2/24 dev eth0", "addr add fd98::2/64 dev eth0 nodad"]);
    run(this.#netns, ["link set eth0 up", "route add default via 10.98.7.1", "-6 route add default via fd98::1"]);
    run(server.netns, [`route add 10.98.7.0/24 via ${client.v4}`, `-6 route add fd98::/64 via ${client.v6}`]);
    for (const file of ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]) {
      inNetns(client.path, "sh", "-c", `echo 1 > /proc/sys/net/${file}`);
    }
  }

  [Symbol.dispose](): void {
    ip("netns", "del", this.#netns);
  }
}
