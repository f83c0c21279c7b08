// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decide, type Question } from "../../../src/intercept/decision.ts";
import { EbpfBackend } from "../../../src/intercept/ebpf/backend.ts";
import { sweepOwnFlows } from "../../../src/intercept/ebpf/sweep.ts";
import type { WorkloadScope } from "../../../src/intercept/ebpf/workload-scope.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import type { InboundSpec, InterceptSpec, OutboundSpec } from "../../../src/intercept/spec.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { ipFamily, parseCidr, parseIp } from "../../../src/util/ip.ts";
import { NetLab } from "../../support/net-lab.ts";

/** The decision in TypeScript and the programs must give the same reason: for real connects, and for SYNs. */

const OUTBOUND_PORT = 15001;
const INBOUND_PORT = 15006;
const DNS_PORT = 15053;
const ports = fc.constantFrom(22, 53, 80, 443, 8080, OUTBOUND_PORT, INBOUND_PORT);
const portList = fc.uniqueArray(ports, { maxLength: 3 });
const addresses = [
  "10.1.2.3",
  "10.1.9.9",
  "10.200.0.1",
  "192.0.2.77",
  "127.0.0.1",
  "127.5.5.5",
  "fd00:1::5",
  "fd00:2::5",
  "2001:db8::1",
  "fe80::7",
  "::1",
];
const cidrs = fc
  .uniqueArray(
    fc.constantFrom(
      "10.0.0.0/8",
      "10.1.0.0/16",
      "10.1.2.3/32",
      "0.0.0.0/0",
      "::/0",
      "fd00::/8",
      "fd00:1::/32",
      "2001:db8::1/128",
      "127.0.0.0/8",
    ),
    { maxLength: 4 },
  )
  .map((list) => list.map(parseCidr));
const cidrSet = fc.oneof(fc.constant("all" as const), cidrs);

const outboundSpec: fc.Arbitrary<OutboundSpec> = fc.record({
  port: fc.constant(OUTBOUND_PORT),
  includePorts: portList,
  excludePorts: portList,
  includeCidrs: cidrSet,
  excludeCidrs: cidrs,
  captureLoopback: fc.boolean(),
  captureLocal: fc.boolean(),
  dns: fc.oneof(
    fc.constant({ kind: "off" as const }),
    fc.constant({ kind: "all" as const, port: DNS_PORT }),
    fc.constant({ kind: "servers" as const, servers: ["10.1.2.3", "fd00:1::5", "127.5.5.5"], port: DNS_PORT }),
  ),
  ownerGroups: fc.constant({ kind: "all-except" as const, groups: [] }),
});
const inboundSpec: fc.Arbitrary<InboundSpec> = fc.record({
  port: fc.constant(INBOUND_PORT),
  includePorts: fc.oneof(fc.constant("all" as const), portList),
  excludePorts: portList,
  includeCidrs: cidrSet,
  excludeCidrs: cidrs,
});

describe("the decision", () => {
  let lab: NetLab;
  let netns: NetworkNamespace;
  let backend: EbpfBackend;
  let scope: WorkloadScope;
  const fds: number[] = [];

  const specOf = (
    outbound: OutboundSpec | undefined,
    inbound: InboundSpec | undefined,
    external: boolean,
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
  });

  beforeAll(async () => {
    lab = new NetLab("twin");
    netns = new NetworkNamespace(lab.client.path);
    const inbound: { family: 4 | 6; index: number; fd: number }[] = [];
    for (const [family, address] of [
      [4, "127.0.0.1"],
      [6, "::1"],
    ] as const) {
      for (const port of [OUTBOUND_PORT, INBOUND_PORT, DNS_PORT]) {
        const options = { address, port, type: "stream" as const, netns: netns.fd, backlog: 4096 };
        const fd = check(loadAddon().listen(family === 6 ? { ...options, v6only: true } : options), "listen");
        fds.push(fd);
        if (port === INBOUND_PORT) inbound.push({ family, index: 0, fd });
      }
    }
    backend = new EbpfBackend({ name: `shunt-test-${process.pid}-twin` });
    const everything = specOf(
      undefined,
      { port: INBOUND_PORT, includePorts: "all", excludePorts: [], includeCidrs: "all", excludeCidrs: [] },
      false,
    );
    scope = await backend.apply(everything, netns, inbound);
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

  it("is the one the connect programs take, whatever the policy", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined, freq: 8 }),
        fc.option(inboundSpec, { nil: undefined }),
        fc.boolean(),
        fc.array(
          fc.record({
            address: fc.constantFrom(...addresses, "local4", "local6"),
            port: ports,
            fromProxy: fc.boolean(),
          }),
          { minLength: 4, maxLength: 12 },
        ),
        async (outbound, inbound, external, questions) => {
          const spec = specOf(outbound, inbound, external);
          await scope.update(spec);
          const localAddresses = netns.localAddresses();
          for (const { address: named, port, fromProxy } of questions) {
            const address = named === "local4" ? lab.client.v4 : named === "local6" ? lab.client.v6 : named;
            const question: Question = {
              direction: "outbound",
              transport: "tcp",
              address,
              port,
              fromProxy,
              localAddresses,
            };
            const reasons = counted("outbound", () => connectOnce(address, port, fromProxy));
            expect(reasons, JSON.stringify({ question, spec })).toEqual({ [decide(spec, question).reason]: 1 });
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("takes a flow for the proxy's own while the note of it is fresh, and old notes are swept", async () => {
    const everything = { port: INBOUND_PORT, includePorts: "all", excludePorts: [], includeCidrs: "all" } as const;
    await scope.update(specOf(undefined, { ...everything, excludeCidrs: [] }, false));
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

  it("is the one the sk_lookup program takes, whatever the policy", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(outboundSpec, { nil: undefined }),
        inboundSpec,
        fc.array(fc.record({ source: fc.constantFrom(...addresses, "127.0.0.6", "::6"), port: ports }), {
          minLength: 4,
          maxLength: 12,
        }),
        async (outbound, inbound, questions) => {
          const spec = specOf(outbound, inbound, false);
          await scope.update(spec);
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
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});

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
