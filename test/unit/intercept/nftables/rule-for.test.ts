// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { decide, type Question, type Reason } from "../../../../src/intercept/decision.ts";
import { plan } from "../../../../src/intercept/nftables/plan.ts";
import { nftablesRuleFor } from "../../../../src/intercept/nftables/rule-for.ts";
import { parseCidr } from "../../../../src/util/ip.ts";
import { anInbound, anOutbound, aSpec } from "../iptables/iptables-specs.ts";

const spec = aSpec({
  outbound: anOutbound({
    includePorts: [8443],
    excludePorts: [22],
    includeCidrs: [parseCidr("10.0.0.0/8")],
    excludeCidrs: [parseCidr("10.9.0.0/16"), parseCidr("fd00:9::/32")],
    dns: { kind: "servers", servers: ["10.9.0.53"], port: 15053 },
  }),
  inbound: anInbound({ excludeCidrs: [parseCidr("fd00:9::/32")] }),
  proxy: { uids: [1337], gids: [], external: true },
});
const asked = (direction: Question["direction"], address: string, port: number, more: Partial<Question> = {}) => ({
  direction,
  transport: "tcp" as const,
  address,
  port,
  fromProxy: false,
  localAddresses: ["10.1.1.1"],
  ...more,
});
const counter = (side: string, reason: Reason): string => `counter name w4b5e57f6-${side}-${reason}`;

describe("the rule that decides", () => {
  it.each<[Reason, Question, string, string]>([
    ["port-excluded", asked("outbound", "10.1.2.3", 22), "out", "tcp dport 22 # return"],
    ["dns", asked("outbound", "10.9.0.53", 53), "out", "tcp dport 53 ip daddr 10.9.0.53 # redirect to :15053"],
    ["loopback", asked("outbound", "::1", 80), "out", "ip6 daddr ::1 # return"],
    ["local-address", asked("outbound", "10.1.1.1", 80), "out", 'oifname "lo" ip daddr != 127.0.0.0/8 # return'],
    ["cidr-excluded", asked("outbound", "fd00:9::1", 80), "out", "ip6 daddr @w4b5e57f6-out-exclude6 # return"],
    ["port-included", asked("outbound", "192.0.2.1", 8443), "out", "tcp dport 8443 # goto w4b5e57f6-out-redirect"],
    [
      "cidr-included",
      asked("outbound", "10.1.2.3", 80),
      "out",
      "@w4b5e57f6-out-include4 # goto w4b5e57f6-out-redirect",
    ],
    ["not-included", asked("outbound", "192.0.2.1", 80), "out", " # return"],
    ["own-traffic", asked("outbound", "192.0.2.1", 80, { owner: { uid: 1337, gid: 1 } }), "own", "# return"],
    [
      "proxy-to-self",
      asked("outbound", "10.1.1.1", 80, { owner: { uid: 1337, gid: 1 } }),
      "own",
      "w4b5e57f6-in-redirect",
    ],
    ["all-included", asked("inbound", "10.1.1.1", 80), "in", "# goto w4b5e57f6-in-redirect"],
    ["port-excluded", asked("inbound", "10.1.1.1", 15021), "in", "tcp dport { 15020, 15021, 15090 } # return"],
  ])("for %s is named with its chain", (reason, question, chain, text) => {
    const decision = decide(spec, question);
    expect(decision.reason).toBe(reason);
    const found = nftablesRuleFor(plan(spec), question, decision);
    expect(found.startsWith(`inet shunt w4b5e57f6-${chain} `)).toBe(true);
    const side = reason === "proxy-to-self" ? "inbound" : question.direction;
    expect(found.replace(counter(side, reason), "#")).toContain(text);
  });

  it("is the end of the chain where none decides", () => {
    const question = asked("outbound", "10.1.1.1", 80);
    const decision = { verdict: "pass", reason: "bound-device", rule: "" } as const;
    expect(nftablesRuleFor(plan(spec), question, decision)).toBe("inet shunt w4b5e57f6-out: no rule, its end");
  });
});
