// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { TPROXY_ROUTE } from "../../../../src/intercept/iptables/policy-routing.ts";
import { plan } from "../../../../src/intercept/tproxy/plan.ts";
import { anInbound, anOutbound, aSpec } from "../iptables/iptables-specs.ts";

describe("plan", () => {
  it("routes marked packets only where something is handed over", () => {
    expect(plan(aSpec({ outbound: anOutbound(), inbound: anInbound() })).routing).toEqual(TPROXY_ROUTE);
    expect(plan(aSpec({ outbound: anOutbound() })).routing).toBeUndefined();
  });

  it("wants a transparent listener on loopback", () => {
    expect(plan(aSpec({ inbound: anInbound() })).listeners).toMatchObject({ inbound: "transparent-loopback" });
  });

  it("names what TPROXY can't do", () => {
    expect(plan(aSpec({ inbound: anInbound() })).warnings).toEqual([
      expect.stringMatching(/^failMode deny: .* no answer/),
    ]);
  });

  it("has a mark and a table that nobody else has", () => {
    const { mark, mask, table } = TPROXY_ROUTE;
    // Istio's marks and tables, the proxy's mark, preserveSource's, and what an external proxy's calls of itself have.
    for (const [other, otherMask] of [
      [1337, 0xffffffff],
      [1338, 0xffffffff],
      [0x539, 0xfff],
      [0x111, 0xfff],
      [0x1539, 0x1fff],
    ] as const) {
      for (const ours of [mark, mark + 1]) {
        expect(ours & otherMask, `${ours} is not ${other}`).not.toBe(other);
        expect(other & mask, `${other} is not ${ours}`).not.toBe(ours);
      }
    }
    expect([133, 100, 5433, 253, 254, 255]).not.toContain(table);
  });
});
