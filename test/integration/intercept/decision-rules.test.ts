// SPDX-License-Identifier: Apache-2.0
/**
 * The decision in TypeScript and the rules of every back-end must agree, whatever the specification: real connects of
 * real users. SHUNT_DECISION_SPECS says how many specifications each back-end gets, SHUNT_DECISION_SEED which ones; a
 * failure tells the seed.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Applied } from "../../../src/intercept/backend.ts";
import { decide } from "../../../src/intercept/decision.ts";
import { iptablesBackend } from "../../../src/intercept/iptables/backend.ts";
import { nftablesBackend } from "../../../src/intercept/nftables/backend.ts";
import type { InterceptSpec, OutboundSpec, ProxyIdentity } from "../../../src/intercept/spec.ts";
import { tproxyBackend } from "../../../src/intercept/tproxy/backend.ts";
import { anyCidrSet, anyCidrs, anyDns, anyInbound, anyPorts } from "../../support/any-spec.ts";
import { patienceMs } from "../../support/inbox.ts";
import { whyUnusable } from "../../support/iptables-save.ts";
import { DESTINATIONS, DecisionLab, type Inquiry, PORTS, SERVED, WORLD } from "../../support/matrix/decision-lab.ts";

interface Rules {
  readonly title: string;
  readonly handedOver: boolean;
  readonly missing: () => Promise<string | undefined>;
  readonly apply: (spec: InterceptSpec) => Promise<Applied>;
}

const BACKENDS: readonly Rules[] = [
  ...(["nft", "legacy"] as const).map((flavour) => ({
    title: `iptables-${flavour}`,
    handedOver: false,
    missing: () => whyUnusable(flavour),
    apply: (spec: InterceptSpec) => iptablesBackend.apply(spec, { flavour }),
  })),
  {
    title: "tproxy",
    handedOver: true,
    missing: async () => (await tproxyBackend.probe()).reason,
    apply: (spec) => tproxyBackend.apply(spec),
  },
  {
    title: "nftables",
    handedOver: false,
    missing: async () => (await nftablesBackend.probe()).reason,
    apply: (spec) => nftablesBackend.apply(spec),
  },
];

const SPECS = Number(process.env["SHUNT_DECISION_SPECS"] ?? "5");
const SEED = Number(process.env["SHUNT_DECISION_SEED"] ?? Date.now() % 2 ** 31);
const MARK = { value: 0x539, mask: 0xfff };

const ports = anyPorts(...SERVED);
const groups = fc.uniqueArray(fc.constantFrom(4002, 4100), { maxLength: 2 });

const outboundSpec: fc.Arbitrary<OutboundSpec> = fc.record({
  port: fc.constant(PORTS.outbound),
  includePorts: ports,
  excludePorts: ports,
  includeCidrs: anyCidrSet,
  excludeCidrs: anyCidrs,
  captureLoopback: fc.boolean(),
  captureLocal: fc.boolean(),
  dns: anyDns(PORTS.dns),
  ownerGroups: fc.oneof(
    { weight: 3, arbitrary: fc.constant({ kind: "all-except" as const, groups: [] }) },
    fc.record({ kind: fc.constantFrom("all-except" as const, "only" as const), groups }),
  ),
});
const inboundSpec = anyInbound(PORTS.inbound, ports);
const proxy: fc.Arbitrary<ProxyIdentity> = fc.record({
  mark: fc.constant(MARK),
  uids: fc.constantFrom([], [4001], [4001, 4003]),
  gids: fc.constantFrom([], [4002]),
  external: fc.boolean(),
});
const spec = fc.record({
  name: fc.constant("twin"),
  outbound: fc.option(outboundSpec, { nil: undefined, freq: 8 }),
  inbound: fc.option(inboundSpec, { nil: undefined, freq: 4 }),
  proxy,
  exclude: fc.constantFrom([], [], ["eth0"], ["eth1"]),
});

const who = fc.constantFrom({}, { mark: 0x539 }, { mark: 0x538 }, ...users(4001, 4003, 5000));
const outboundInquiry = fc.record({
  direction: fc.constant("outbound" as const),
  transport: fc.constant("tcp" as const),
  address: fc.constantFrom(...DESTINATIONS),
  port: fc.constantFrom(...SERVED, PORTS.outbound, PORTS.inbound),
  mapped: fc.boolean(),
  who,
});
const dnsInquiry = fc.record({
  direction: fc.constant("outbound" as const),
  transport: fc.constant("udp" as const),
  address: fc.constantFrom(...DESTINATIONS),
  port: fc.constant(53),
  mapped: fc.constant(false),
  who,
});
const inboundInquiry = fc.record({
  direction: fc.constant("inbound" as const),
  transport: fc.constant("tcp" as const),
  source: fc.constantFrom(...WORLD),
  address: fc.constantFrom("local4", "local6"),
  port: fc.constantFrom(...SERVED, PORTS.outbound),
  mapped: fc.constant(false),
  who: fc.constant({}),
});
/** Led from one listener to another, a connection would go round: seldom met by chance. */
const toItself: readonly Inquiry[] = ["local4", "local6"].flatMap((address) =>
  [PORTS.outbound, PORTS.inbound, PORTS.dns, 80].map((port) => ({
    direction: "outbound",
    transport: "tcp",
    address,
    port,
    mapped: false,
    who: { mark: MARK.value },
  })),
);
const inquiries = fc.tuple(
  fc.array(outboundInquiry, { minLength: 12, maxLength: 20 }),
  fc.array(dnsInquiry, { minLength: 2, maxLength: 5 }),
  fc.array(inboundInquiry, { minLength: 4, maxLength: 10 }),
);

function users(...uids: number[]): { uid: number; gid: number }[] {
  return uids.flatMap((uid) => [4002, 4100, 5000].map((gid) => ({ uid, gid })));
}

describe.each(BACKENDS)("the decision and the rules of $title", ({ handedOver, missing, apply }) => {
  it("agree, whatever the policy", { timeout: patienceMs(60_000 + SPECS * 10_000) }, async (context) => {
    const why = await missing();
    context.skip(why !== undefined, why);
    await using lab = await DecisionLab.start({ handedOver });
    const cases = fc
      .sample(fc.tuple(spec, inquiries), { numRuns: SPECS, seed: SEED })
      .map(([given, [out, dns, into]]) => {
        const { exclude, outbound, inbound, ...rest } = given;
        const made: InterceptSpec = {
          ...rest,
          ...(outbound ? { outbound } : {}),
          ...(inbound ? { inbound } : {}),
          target: { kind: "netns", path: lab.lab.client.path },
          interfaces: { exclude, reroute: [] },
          dropInvalid: false,
          failMode: "deny",
          trace: false,
        };
        return { made, asked: [...out, ...dns, ...into, ...toItself].map((inquiry) => placed(inquiry, lab)) };
      });
    // What passes must end where it ends without rules.
    for (const { asked } of cases) await Promise.all(asked.map((inquiry) => lab.untouched(inquiry)));
    for (const { made, asked } of cases) {
      await apply(made);
      const results = await Promise.all(
        asked.map(async (inquiry) => {
          const decision = decide(made, questionOf(inquiry, lab));
          const should = await expectedOf(lab, inquiry, decision);
          return { inquiry, decision, should, is: await lab.outcome(inquiry) };
        }),
      );
      const wrong = results.filter(({ should, is }) => is !== should);
      expect(wrong, `seed ${SEED}: ${JSON.stringify(made)}`).toEqual([]);
    }
  });
});

function placed<One extends { readonly address: string; readonly source?: string }>(
  inquiry: One,
  lab: DecisionLab,
): One {
  const [local4 = "", local6 = ""] = lab.local;
  const address = inquiry.address === "local4" ? local4 : inquiry.address === "local6" ? local6 : inquiry.address;
  if (inquiry.source === undefined) return { ...inquiry, address };
  // Client and destination are of one family.
  return { ...inquiry, address: inquiry.source.includes(":") ? local6 : local4 };
}

function questionOf(inquiry: Inquiry, lab: DecisionLab): Parameters<typeof decide>[1] {
  const { direction, transport, address, port, source, who: by } = inquiry;
  return {
    direction,
    transport,
    address,
    port,
    ...(source === undefined ? {} : { source }),
    fromProxy: direction === "outbound" && ((by.mark ?? 0) & MARK.mask) === MARK.value,
    owner: { uid: by.uid ?? 0, gid: by.gid ?? 0 },
    mark: by.mark ?? 0,
    interface: "eth0",
    localAddresses: lab.local,
  };
}

async function expectedOf(
  lab: DecisionLab,
  inquiry: Inquiry,
  { verdict, reason }: ReturnType<typeof decide>,
): Promise<string> {
  if (verdict === "pass") return lab.untouched(inquiry);
  const { direction, transport, address, port } = inquiry;
  const taker =
    reason === "dns" ? "dns" : direction === "inbound" || reason === "proxy-to-self" ? "inbound" : "outbound";
  // A datagram's forwarder only knows itself.
  if (transport === "udp") return `dns for ${address.includes(":") ? "::1" : "127.0.0.1"} ${PORTS.dns}`;
  return `${taker} for ${address} ${port}`;
}
