// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Decision, decide, type Question } from "../../../src/intercept/decision.ts";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import { sweepHops, sweepOwnFlows } from "../../../src/intercept/ebpf/sweep.ts";
import type { WorkloadScope } from "../../../src/intercept/ebpf/workload-scope.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import type { InboundSpec, InterceptSpec, OutboundSpec, ProxyIdentity } from "../../../src/intercept/spec.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { cidrContains, ipFamily, parseCidr, parseIp } from "../../../src/util/ip.ts";
import { anyCidrSet, anyCidrs, anyDns, anyInbound, anyPorts } from "../../support/any-spec.ts";
import { ip, NetLab } from "../../support/net-lab.ts";

/** The decision in TypeScript and the programs must give the same reason: for real connects, and for SYNs. */

const OUTBOUND_PORT = 15001;
const INBOUND_PORT = 15006;
const DNS_PORT = 15053;
const PORTS = [22, 53, 80, 443, 8080, OUTBOUND_PORT, INBOUND_PORT] as const;
const portList = anyPorts(...PORTS);
const addresses = [
  "10.1.2.3",
  "10.1.9.9",
  "10.200.0.1",
  "10.200.7.7",
  "0.0.0.0",
  "192.0.2.77",
  "127.0.0.1",
  "127.5.5.5",
  "127.0.0.6",
  "::6",
  "fd00:1::5",
  "fd00:2::5",
  "2001:db8::1",
  "fe80::7",
  "::1",
];

const outboundSpec: fc.Arbitrary<OutboundSpec> = fc.record({
  port: fc.constant(OUTBOUND_PORT),
  includePorts: portList,
  excludePorts: portList,
  includeCidrs: anyCidrSet,
  excludeCidrs: anyCidrs,
  captureLoopback: fc.boolean(),
  captureLocal: fc.boolean(),
  dns: anyDns(DNS_PORT),
  captureLocalDns: fc.boolean(),
  ownerGroups: fc.record({
    kind: fc.constantFrom("all-except" as const, "all-except" as const, "only" as const),
    groups: fc.subarray([0, 5001]),
  }),
});
const inboundSpec = anyInbound(INBOUND_PORT, portList);

/** Whoever runs the test connects: user and group 0. */
const OWNER = { uid: 0, gid: 0 };
const selfOwners = fc.record({
  ids: fc.subarray([0, 1337]),
  ports: fc.record({ kind: fc.constantFrom("all-except" as const, "only" as const), ports: portList }),
});
const identity: fc.Arbitrary<ProxyIdentity> = fc
  .record({
    mark: fc.constant({ value: 0x539, mask: 0xfff }),
    uids: fc.constantFrom([], [], [1337, 4], [0, 1337]),
    gids: fc.constantFrom([], [], [1337], [7, 0]),
    external: fc.boolean(),
    selfEntry: fc.option(
      fc.record({
        uids: selfOwners,
        gids: selfOwners,
        excludeCidrs: fc.constantFrom([], ["127.0.0.1/32", "::1/128"].map(parseCidr), [parseCidr("127.0.0.0/8")]),
        transparent: fc.boolean(),
      }),
      { nil: undefined },
    ),
  })
  .map(({ selfEntry, ...rest }) => (selfEntry ? { ...rest, selfEntry } : rest));
const exclude = fc.constantFrom([], [], ["net1"], ["other", "net+"]);
const extras = fc.record({ proxy: identity, exclude, ipv6: fc.boolean() });
type Extras = typeof extras extends fc.Arbitrary<infer T> ? T : never;
const PLAIN: Extras = {
  proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [], gids: [], external: false },
  exclude: [],
  ipv6: true,
};
/** Where the namespace's routes lead by net1; a longer one leads back. */
const BY_NET1 = ["10.200.0.0/16", "fd00:2::/32", "10.55.0.0/24"].map(parseCidr);
const BY_ETH0 = parseCidr("10.200.7.0/24");

describe("the decision", () => {
  let lab: NetLab;
  let netns: NetworkNamespace;
  let backend: EbpfBackend;
  let scope: WorkloadScope;
  const fds: number[] = [];
  const listeners: { family: 4 | 6; index: number; fd: number }[] = [];

  const specOf = (
    outbound: OutboundSpec | undefined,
    inbound: InboundSpec | undefined,
    { proxy, exclude: names, ipv6 }: Extras = PLAIN,
  ): InterceptSpec => ({
    name: "twin",
    target: { kind: "netns", path: lab.client.path },
    ...(outbound ? { outbound } : {}),
    ...(inbound ? { inbound } : {}),
    proxy,
    interfaces: { exclude: names, reroute: [] },
    ipv6,
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  });

  beforeAll(async () => {
    lab = new NetLab("twin");
    netns = new NetworkNamespace(lab.client.path);
    const inside = (...args: string[]): string => ip("-n", lab.client.netns, ...args);
    inside("link", "add", "net1", "type", "veth", "peer", "name", "net1peer");
    inside("link", "set", "net1peer", "up");
    inside("link", "set", "net1", "up");
    inside("addr", "add", "10.55.0.1/24", "dev", "net1");
    inside("addr", "add", "::6/128", "dev", "lo");
    inside("route", "add", "10.200.0.0/16", "dev", "net1");
    inside("route", "add", "10.200.7.0/24", "dev", "eth0");
    inside("-6", "route", "add", "fd00:2::/32", "dev", "net1");
    for (const [family, address] of [
      [4, "127.0.0.1"],
      [6, "::1"],
    ] as const) {
      for (const port of [OUTBOUND_PORT, INBOUND_PORT, DNS_PORT]) {
        const options = { address, port, type: "stream" as const, netns: netns.fd, backlog: 4096 };
        const fd = check(loadAddon().listen(family === 6 ? { ...options, v6only: true } : options), "listen");
        fds.push(fd);
        if (port === INBOUND_PORT) listeners.push({ family, index: 0, fd });
      }
    }
    backend = new EbpfBackend({ name: `shunt-test-${process.pid}-twin` });
    const everything = specOf(undefined, {
      port: INBOUND_PORT,
      includePorts: "all",
      excludePorts: [],
      includeCidrs: "all",
      excludeCidrs: [],
    });
    scope = await backend.apply(everything, netns, listeners);
  });

  afterAll(() => {
    for (const fd of fds) loadAddon().closeFd(fd);
    backend?.remove();
    netns?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** The reasons counted while `action` ran. */
  const counted = (direction: "outbound" | "inbound", action: () => void): Record<string, number> => {
    const before = scope.counters();
    action();
    const after = scope.counters();
    const changed: Record<string, number> = {};
    // A proxy that calls its own pod is counted where it enters: inbound.
    for (const side of direction === "outbound" ? (["outbound", "inbound"] as const) : (["inbound"] as const)) {
      for (const [reason, count] of Object.entries(after[side])) {
        const difference = count - (before[side][reason] ?? 0);
        if (difference > 0 && (side === direction || reason === "proxy-to-self")) changed[reason] = difference;
      }
    }
    return changed;
  };

  const connectOnce = (address: string, port: number, fromProxy: boolean): void => {
    const fd = check(
      loadAddon().bindSocket({ address, port, netns: netns.fd, ...(fromProxy ? { mark: 0x539 } : {}) }),
      "socket",
    );
    const pending = loadAddon().connectSocket(fd, address, port, () => {});
    if (typeof pending !== "number") pending.cancel();
    loadAddon().closeFd(fd);
  };

  /** What `explain` names is in the maps. */
  const hasEntry = (question: Question, { item }: Decision): boolean => {
    const { instance } = backend;
    if (!instance) throw new Error("nothing is loaded");
    const policy = instance.map("workloads").get(scope.slot)?.policy ?? 0;
    const whole = (address: string) => ({ prefixLength: 64 + 128, policy, address });
    switch (item?.kind) {
      case undefined:
        return true;
      case "port": {
        const { direction, action, port } = item;
        return instance.map("ports").get({ policy, direction, action, port }) === 1;
      }
      case "cidr":
        return instance.map("cidrs").get({ ...whole(item.cidr.address), kind: item.set }) === 1;
      case "owner":
        return instance.map("owners").get({ policy, kind: item.by, id: item.id }) !== undefined;
      case "address":
        return instance.map("local_addrs").get({ netns: netns.cookie(), address: item.address }) === 1;
      case "interface":
        return instance.map("cidrs").get({ ...whole(question.address), kind: "interface-route" }) === 1;
      default:
        return item satisfies never;
    }
  };

  it("is the one the connect programs take, whatever the policy", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined, freq: 8 }),
        fc.option(inboundSpec, { nil: undefined }),
        extras,
        fc.array(
          fc.record({
            address: fc.constantFrom(...addresses, "local4", "local6", "10.55.0.1"),
            port: fc.constantFrom(...PORTS),
            fromProxy: fc.boolean(),
          }),
          { minLength: 4, maxLength: 12 },
        ),
        async (outbound, inbound, extra, questions) => {
          const spec = specOf(outbound, inbound, extra);
          await scope.update(spec, listeners);
          const localAddresses = netns.localAddresses();
          for (const { address: named, port, fromProxy } of questions) {
            const address = named === "local4" ? lab.client.v4 : named === "local6" ? lab.client.v6 : named;
            const question: Question = {
              direction: "outbound",
              transport: "tcp",
              address,
              port,
              fromProxy,
              owner: OWNER,
              ...(fromProxy ? { mark: 0x539 } : {}),
              ...(leavesByNet1(address) ? { interface: "net1" } : {}),
              localAddresses,
            };
            const reasons = counted("outbound", () => connectOnce(address, port, fromProxy));
            const decision = decide(spec, question);
            expect(reasons, JSON.stringify({ question, spec })).toEqual({ [decision.reason]: 1 });
            expect(hasEntry(question, decision), JSON.stringify({ question, decision })).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("takes a flow for the proxy's own while the note of it is fresh, and old notes are swept", async () => {
    const everything = { port: INBOUND_PORT, includePorts: "all", excludePorts: [], includeCidrs: "all" } as const;
    await scope.update(specOf(undefined, { ...everything, excludeCidrs: [] }), listeners);
    const { instance } = backend;
    if (!instance) throw new Error("nothing is loaded");
    const flows = instance.map("own_flows");
    const address = lab.client.v4;
    const key = { netns: netns.cookie(), remote: "192.0.2.77", local: address, remotePort: 40000, localPort: 80 };
    const arrive = () => counted("inbound", () => scope.tryInbound(lookupContext("192.0.2.77", address, 80)));
    expect(arrive()).toEqual({ "all-included": 1 });
    flows.set(key, process.hrtime.bigint());
    expect(arrive()).toEqual({ "own-traffic": 1 });
    expect(sweepOwnFlows(instance)).toBe(0);
    flows.set(key, process.hrtime.bigint() - 61_000_000_000n);
    expect(arrive()).toEqual({ "all-included": 1 });
    expect(sweepOwnFlows(instance)).toBe(1);
    expect(flows.get(key)).toBeUndefined();
  });

  it("lets a proxy's connection pass that is noted in hops, once, where the workload says so", async () => {
    const everything = { port: INBOUND_PORT, includePorts: "all", excludePorts: [443], includeCidrs: "all" } as const;
    const { instance } = backend;
    if (!instance) throw new Error("nothing is loaded");
    const hops = instance.map("hops");
    const address = lab.client.v4;
    const key = { netns: 0n, remote: "192.0.2.78", local: address, remotePort: 40000, localPort: 80 };
    const note = (netns = 0n, slot = 0, ageNs = 0n) =>
      hops.set(key, { notedNs: process.hrtime.bigint() - ageNs, netns, slot });
    const arrive = (port = 80) =>
      counted("inbound", () => scope.tryInbound(lookupContext("192.0.2.78", address, port)));
    const spec = specOf(undefined, { ...everything, excludeCidrs: [] });
    const question = {
      direction: "inbound",
      transport: "tcp",
      source: "192.0.2.78",
      address,
      fromProxy: false,
    } as const;
    const decided = (oneHop: boolean, port: number) => {
      const { reason } = decide({ ...spec, oneHop }, { ...question, port, hadHop: true, localAddresses: [] });
      return { [reason]: 1 };
    };
    for (const oneHop of [false, true]) {
      await scope.update({ ...spec, oneHop }, listeners);
      for (const port of [80, 443]) {
        hops.set({ ...key, localPort: port }, { notedNs: process.hrtime.bigint(), netns: 0n, slot: 0 });
        expect(arrive(port)).toEqual(decided(oneHop, port));
      }
    }
    // A SYN may come twice; what another namespace has taken, or what is old, is not let pass.
    expect(hops.get(key)).toMatchObject({ netns: netns.cookie(), slot: scope.slot });
    expect(arrive()).toEqual({ "hop-left-out": 1 });
    note(4711n, 99);
    expect(arrive()).toEqual({ "all-included": 1 });
    note(0n, 0, 61_000_000_000n);
    expect(arrive()).toEqual({ "all-included": 1 });
    expect(sweepHops(instance)).toBe(1);
    expect(hops.get(key)).toBeUndefined();
    expect(arrive()).toEqual({ "all-included": 1 });
    hops.delete({ ...key, localPort: 443 });
  });

  it("is the one the sk_lookup program takes, whatever the policy", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined }),
        inboundSpec,
        extras,
        fc.array(
          fc.record({
            source: fc.constantFrom(...addresses, "127.0.0.6", "::6"),
            port: fc.constantFrom(...PORTS),
          }),
          { minLength: 4, maxLength: 12 },
        ),
        async (outbound, inbound, extra, questions) => {
          const spec = specOf(outbound, inbound, extra);
          await scope.update(spec, listeners);
          for (const { source, port } of questions) {
            const v6 = source.startsWith("fe80:") ? "fe80::9" : lab.client.v6;
            const address = ipFamily(source) === 4 ? lab.client.v4 : v6;
            const question: Question = {
              direction: "inbound",
              transport: "tcp",
              source,
              address,
              port,
              fromProxy: false,
              localAddresses: [],
            };
            const decision = decide(spec, question);
            let steered = false;
            const reasons = counted("inbound", () => {
              steered = scope.tryInbound(lookupContext(source, address, port)) !== 0n;
            });
            // What redirected connections do at their own door is not counted.
            const silent = decision.reason === "own-listener" && (source === "127.0.0.1" || source === "::1");
            expect(reasons, JSON.stringify({ question, spec })).toEqual(silent ? {} : { [decision.reason]: 1 });
            expect(steered).toBe(decision.verdict === "redirect");
            expect(hasEntry(question, decision), JSON.stringify({ question, decision })).toBe(true);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

function leavesByNet1(address: string): boolean {
  const inside = (range: (typeof BY_NET1)[number]): boolean =>
    ipFamily(range.address) === ipFamily(address) && cidrContains(range, address);
  return BY_NET1.some(inside) && !inside(BY_ETH0);
}

/** struct bpf_sk_lookup, <linux/bpf.h>: what BPF_PROG_TEST_RUN takes as its context (≥ 5.13). */
function lookupContext(remote: string, local: string, localPort: number): Uint8Array {
  const bytes = new Uint8Array(72);
  const view = new DataView(bytes.buffer);
  const v4 = ipFamily(remote) === 4;
  view.setUint32(8, v4 ? 2 : 10, true);
  view.setUint32(12, 6, true);
  if (v4) bytes.set(parseIp(remote).subarray(12), 16);
  else bytes.set(parseIp(remote), 20);
  view.setUint16(36, 40000);
  if (v4) bytes.set(parseIp(local).subarray(12), 40);
  else bytes.set(parseIp(local), 44);
  view.setUint32(60, localPort, true);
  return bytes;
}
