// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decide, type Question } from "../../../src/intercept/decision.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { nftablesBackend } from "../../../src/intercept/nftables/backend.ts";
import { NftablesInterception } from "../../../src/intercept/nftables/interception.ts";
import type { InboundSpec, InterceptSpec, OutboundSpec } from "../../../src/intercept/spec.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { ipFamily } from "../../../src/util/ip.ts";
import { anyCidrSet, anyCidrs, anyDns, anyInbound, anyPorts } from "../../support/any-spec.ts";
import { ip, type LabNode, NetLab } from "../../support/net-lab.ts";

/** The decision in TypeScript and the rules must give the same reason for real connects. */

const OUTBOUND_PORT = 15001;
const INBOUND_PORT = 15006;
const DNS_PORT = 15053;
const PORTS = [22, 53, 80, 443, 8080, OUTBOUND_PORT, INBOUND_PORT] as const;
const portList = anyPorts(...PORTS);
/** Not of the namespace: others are, and connections to them go there by a default route. */
const remotes = ["10.1.2.3", "10.1.9.9", "10.200.0.1", "192.0.2.77", "fd00:1::5", "fd00:2::5", "2001:db8::1"];
const loopback = ["127.0.0.1", "127.5.5.5", "127.0.0.6", "::1", "::6"];
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
  // Who asks below is in group 0.
  ownerGroups: fc.constantFrom(
    { kind: "all-except" as const, groups: [] },
    { kind: "all-except" as const, groups: [0, 7] },
    { kind: "only" as const, groups: [7] },
    { kind: "only" as const, groups: [0] },
  ),
});
const inboundSpec = anyInbound(INBOUND_PORT, portList);

const others = fc.record({
  interfaces: fc.constantFrom(
    { exclude: [], reroute: [] },
    { exclude: ["eth1"], reroute: [] },
    { exclude: ["lo"], reroute: [] },
    { exclude: ["et+"], reroute: [] },
  ),
  ipv6: fc.boolean(),
});

describe("the rules of nftables", () => {
  let lab: NetLab;
  let netns: NetworkNamespace;
  let world: NetworkNamespace;
  let interception: NftablesInterception | undefined;

  beforeAll(async () => {
    if (!(await nftablesBackend.probe()).ok) return;
    lab = new NetLab("nfttwin");
    netns = new NetworkNamespace(lab.client.path);
    world = new NetworkNamespace(lab.server.path);
    for (const [node, gateway] of [
      [lab.client, lab.server],
      [lab.server, lab.client],
    ] satisfies [LabNode, LabNode][]) {
      ip("-n", node.netns, "route", "add", "default", "via", gateway.v4);
      ip("-6", "-n", node.netns, "route", "add", "default", "via", gateway.v6);
    }
    ip("-n", lab.client.netns, "addr", "add", "::6/128", "dev", "lo");
    for (const address of remotes) {
      const length = ipFamily(address) === 4 ? "/32" : "/128";
      ip("-n", lab.server.netns, "addr", "add", `${address}${length}`, "dev", "lo");
    }
    interception = await NftablesInterception.apply(specOf(undefined, undefined, false), netns);
  });

  afterAll(async () => {
    await interception?.remove();
    netns?.[Symbol.dispose]();
    world?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  const specOf = (
    outbound: OutboundSpec | undefined,
    inbound: InboundSpec | undefined,
    external: boolean,
    more: Partial<InterceptSpec> = {},
  ): InterceptSpec => ({
    name: "twin",
    target: { kind: "netns", path: lab.client.path },
    ...(outbound ? { outbound } : {}),
    ...(inbound ? { inbound } : {}),
    proxy: { mark: { value: 0x539, mask: 0xfff }, uids: [], gids: [], external },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
    ...more,
  });

  /** Counts by direction and reason. */
  const counts = async (): Promise<Map<string, number>> => {
    await interception?.refreshCounters();
    const { outbound, inbound } = interception?.counters() ?? { outbound: {}, inbound: {} };
    const named = (direction: string, of: Readonly<Record<string, number>>) =>
      Object.entries(of).map(([reason, count]): [string, number] => [`${direction} ${reason}`, count]);
    return new Map([...named("outbound", outbound), ...named("inbound", inbound)]);
  };

  let before = new Map<string, number>();

  /** What one connection is counted as. The first packet leaves before this returns to the event loop. */
  const countedAs = async (
    from: NetworkNamespace,
    to: { address: string; port: number },
    options: { mark?: number; bindAddress?: string },
  ): Promise<string[]> => {
    const fd = check(loadAddon().bindSocket({ ...to, netns: from.fd, ...options }), "socket");
    const pending = loadAddon().connectSocket(fd, to.address, to.port, () => {});
    if (typeof pending !== "number") pending.cancel();
    loadAddon().closeFd(fd);
    const after = await counts();
    const counted = [...after].filter(([name, count]) => count > (before.get(name) ?? 0)).map(([name]) => name);
    before = after;
    return counted;
  };

  it("decide about connections of the namespace as the twin does, whatever the policy", async (context) => {
    context.skip(!interception, "nft can't make the rules here");
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined, freq: 8 }),
        fc.option(inboundSpec, { nil: undefined }),
        fc.boolean(),
        others,
        fc.array(
          fc.record({
            address: fc.constantFrom(...remotes, ...loopback, "local4", "local6"),
            port: fc.constantFrom(...PORTS),
            fromProxy: fc.boolean(),
          }),
          { minLength: 4, maxLength: 8 },
        ),
        async (outbound, inbound, external, more, questions) => {
          const spec = specOf(outbound, inbound, external, more);
          await interception?.update(spec);
          before = await counts();
          const localAddresses = netns.localAddresses();
          for (const { address: named, port, fromProxy } of questions) {
            const address = named === "local4" ? lab.client.v4 : named === "local6" ? lab.client.v6 : named;
            const question: Question = {
              direction: "outbound",
              transport: "tcp",
              address,
              port,
              fromProxy,
              owner: { uid: 0, gid: 0 },
              interface: "eth0",
              localAddresses,
            };
            const { reason } = decide(spec, question);
            const found = await countedAs(netns, { address, port }, fromProxy ? { mark: 0x539 } : {});
            const side = reason === "proxy-to-self" ? "inbound" : "outbound";
            // Where there is nothing to decide about there is no rule that counts.
            const silent = reason === "direction-off" || (!outbound && !(inbound && external));
            expect(found, JSON.stringify({ question, spec })).toEqual(silent ? [] : [`${side} ${reason}`]);
          }
        },
      ),
      { numRuns: 10, endOnFailure: true },
    );
  });

  it("decide about connections from outside as the twin does, whatever the policy", async (context) => {
    context.skip(!interception, "nft can't make the rules here");
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined }),
        inboundSpec,
        others,
        fc.array(fc.record({ source: fc.constantFrom(...remotes), port: fc.constantFrom(...PORTS) }), {
          minLength: 4,
          maxLength: 8,
        }),
        async (outbound, inbound, more, questions) => {
          const spec = specOf(outbound, inbound, false, more);
          await interception?.update(spec);
          before = await counts();
          for (const { source, port } of questions) {
            const address = ipFamily(source) === 4 ? lab.client.v4 : lab.client.v6;
            const question: Question = {
              direction: "inbound",
              transport: "tcp",
              source,
              address,
              port,
              fromProxy: false,
              interface: "eth0",
              localAddresses: [],
            };
            const found = await countedAs(world, { address, port }, { bindAddress: source });
            expect(found, JSON.stringify({ question, spec })).toEqual([`inbound ${decide(spec, question).reason}`]);
          }
        },
      ),
      { numRuns: 10, endOnFailure: true },
    );
  });
});
