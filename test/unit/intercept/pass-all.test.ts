// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { between, passAll, both as widened } from "../../../src/intercept/pass-all.ts";
import type { InterceptSpec, OutboundSpec } from "../../../src/intercept/spec.ts";

const outbound: OutboundSpec = {
  port: 15001,
  includePorts: [22],
  excludePorts: [80],
  includeCidrs: "all",
  excludeCidrs: [],
  captureLoopback: false,
  captureLocal: false,
  dns: { kind: "all", port: 15053, morePorts: [40001] },
  ownerGroups: { kind: "all-except", groups: [] },
};
const preserveMark = { value: 0x1539, mask: 0x1fff };
const inbound = { port: 15006, includePorts: "all", excludePorts: [], includeCidrs: "all", excludeCidrs: [] } as const;
const neither: InterceptSpec = {
  name: "web",
  target: { kind: "netns", path: "/run/netns/web" },
  proxy: { uids: [], gids: [], external: false },
  interfaces: { exclude: [], reroute: [] },
  dropInvalid: false,
  failMode: "deny",
  trace: false,
};
const both: InterceptSpec = { ...neither, outbound, inbound: { ...inbound, preserveMark } };
const noQueries = { kind: "servers", servers: [], port: 15053, morePorts: [40001] };

describe("between", () => {
  it("keeps the ports of directions that go off, and captures nothing by them", () => {
    expect(between(both, neither)).toEqual(passAll(both));
    expect(passAll(both)).toMatchObject({
      outbound: { port: 15001, includePorts: [], includeCidrs: [], dns: noQueries },
      inbound: { port: 15006, includePorts: [], includeCidrs: [], preserveMark },
    });
  });

  it("keeps the ports of DNS, and the rules of preserved connections, when those alone go off", () => {
    const after: InterceptSpec = { ...neither, outbound: { ...outbound, dns: { kind: "off" } }, inbound };
    expect(between(both, after)).toEqual({
      ...neither,
      outbound: { ...outbound, dns: noQueries },
      inbound: { ...inbound, preserveMark },
    });
  });

  it("adds nothing to what goes on, moves, or comes on", () => {
    const moved: InterceptSpec = {
      ...both,
      outbound: { ...outbound, port: 15301, dns: { kind: "all", port: 53_000 } },
    };
    expect(between(both, moved)).toEqual(moved);
    expect(between(neither, both)).toEqual(both);
  });

  it("says so again until it is settled, however many changes come", () => {
    const once = between(both, neither);
    expect(between(once, neither)).toEqual(once);
    expect(between(once, both)).toEqual(both);
  });
});

describe("what two modes that exchange have in common", () => {
  it("captures what either captures, by the new policy where both have the direction", () => {
    const { inbound: _inbound, ...outboundAlone } = both;
    const changed: InterceptSpec = { ...outboundAlone, outbound: { ...outbound, excludePorts: [81] } };
    expect(widened(both, changed)).toEqual({ ...both, ...changed });
    expect(widened(neither, both)).toEqual(both);
    expect(widened(both, neither)).toEqual(both);
  });
});
