// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { portFor, resolverAt, resolversByPort } from "../../../src/intercept/dns-ports.ts";
import { plan as iptablesPlan } from "../../../src/intercept/iptables/plan.ts";
import { render as renderIptables } from "../../../src/intercept/iptables/render.ts";
import { plan as nftablesPlan } from "../../../src/intercept/nftables/plan.ts";
import { render as renderNftables } from "../../../src/intercept/nftables/render.ts";
import type { DnsCapture } from "../../../src/intercept/spec.ts";
import { anOutbound, aSpec } from "./iptables/iptables-specs.ts";

const four = ["10.0.0.1", "10.0.0.2", "fd00::1", "::ffff:10.0.0.3", "10.0.0.4", "10.0.0.1"];
const listed = (servers: readonly string[]) =>
  ({ kind: "servers", servers, port: 15053, morePorts: [41, 42, 43] }) as const satisfies DnsCapture;

describe("resolvers under rules", () => {
  it("have a port each, in either family by itself", () => {
    expect([...resolversByPort(listed(four), 4)]).toEqual([
      [15053, ["10.0.0.1"]],
      [41, ["10.0.0.2"]],
      [42, ["10.0.0.3"]],
      [43, ["10.0.0.4"]],
    ]);
    expect([...resolversByPort(listed(four), 6)]).toEqual([[15053, ["fd00::1"]]]);
    expect(resolverAt(listed(four), 4, 42)).toBe("10.0.0.3");
    expect(resolverAt(listed(four), 6, 15053)).toBe("fd00::1");
    expect(portFor(listed(four), "10.0.0.4")).toBe(43);
  });

  it("share the first port where there are more, and are not told apart there", () => {
    const five = listed([...four, "10.0.0.5"]);
    expect(resolverAt(five, 4, 15053)).toBeUndefined();
    expect(resolverAt(five, 4, 43)).toBe("10.0.0.4");
    expect(portFor(five, "10.0.0.5")).toBe(15053);
    expect(resolverAt({ ...five, kind: "all" }, 4, 15053)).toBeUndefined();
  });

  it("are warned of only where they are not told apart", () => {
    const warned = (dns: DnsCapture) => iptablesPlan(aSpec({ outbound: anOutbound({ dns }) })).warnings.join("\n");
    expect(warned(listed(four))).not.toContain("dns: ");
    expect(warned(listed([...four, "10.0.0.5"]))).toContain("dns: over UDP the resolver");
    expect(warned({ kind: "all", port: 15053 })).toContain("dns: over UDP the resolver");
  });

  it("have rules each for UDP, one port for TCP, and one zone for queries and answers", () => {
    const spec = aSpec({ outbound: anOutbound({ dns: listed(["10.0.0.1", "10.0.0.2"]) }) });
    const [iptables = ""] = renderIptables(iptablesPlan(spec)).map(({ text }) => text);
    expect(iptables).toMatch(/-d 10\.0\.0\.1\/32 -p udp --dport 53 .*-j REDIRECT --to-ports 15053\n/);
    expect(iptables).toMatch(/-d 10\.0\.0\.2\/32 -p udp --dport 53 .*-j REDIRECT --to-ports 41\n/);
    expect(iptables).toMatch(/-d 10\.0\.0\.2\/32 -p tcp --syn --dport 53 .*-j REDIRECT --to-ports 15053\n/);
    expect(iptables).toMatch(/-s 127\.0\.0\.1\/32 -p udp -m multiport --sports 15053,41,42,43 .*-j CT --zone 15053\n/);
    const nftables = renderNftables(nftablesPlan(spec));
    expect(nftables).toMatch(/udp dport 53 ip daddr 10\.0\.0\.2 .*redirect to :41 /);
    expect(nftables).toMatch(/tcp dport 53 ip daddr \{ 10\.0\.0\.1, 10\.0\.0\.2 \} .*redirect to :15053 /);
    expect(nftables).toContain("udp sport { 41, 42, 43, 15053 } ct zone set 15053");
  });
});
