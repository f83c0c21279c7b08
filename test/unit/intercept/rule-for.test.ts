// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { decide, type Question, type Reason } from "../../../src/intercept/decision.ts";
import { ebpfRuleFor } from "../../../src/intercept/ebpf/rule-for.ts";
import { plan } from "../../../src/intercept/iptables/plan.ts";
import { iptablesRuleFor } from "../../../src/intercept/iptables/rule-for.ts";
import { plan as planTproxy } from "../../../src/intercept/tproxy/plan.ts";
import { parseCidr } from "../../../src/util/ip.ts";
import { anInbound, anOutbound, aSpec } from "./iptables/iptables-specs.ts";

const spec = aSpec({
  outbound: anOutbound({
    includePorts: [8443],
    excludePorts: [22],
    includeCidrs: [parseCidr("10.0.0.0/8")],
    excludeCidrs: [parseCidr("10.9.0.0/16")],
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
const chain = "SHUNT_4b5e57f6";
const comment = '-m comment --comment "shunt:web"';

const cases: readonly (readonly [Reason, Question, string, string])[] = [
  [
    "port-excluded",
    asked("outbound", "10.1.2.3", 22),
    "ports[policy 3, outbound, exclude, 22]",
    "OUT -p tcp --dport 22 # -j RETURN",
  ],
  [
    "dns",
    asked("outbound", "10.9.0.53", 53),
    "cidrs[policy 3, dns-server, 10.9.0.53/32]",
    "DNS -d 10.9.0.53/32 -p tcp --syn --dport 53 # -j REDIRECT --to-ports 15053",
  ],
  [
    "loopback",
    asked("outbound", "127.0.0.1", 80),
    "workloads[2].flags without CAPTURE_LOOPBACK",
    "OUT -o lo # -j RETURN",
  ],
  ["local-address", asked("outbound", "10.1.1.1", 80), "local_addrs[10.1.1.1]", "OUT -o lo # -j RETURN"],
  [
    "cidr-excluded",
    asked("outbound", "10.9.1.1", 80),
    "cidrs[policy 3, outbound-exclude, 10.9.0.0/16]",
    "OUT -d 10.9.0.0/16 # -j RETURN",
  ],
  [
    "port-included",
    asked("outbound", "203.0.113.1", 8443),
    "ports[policy 3, outbound, include, 8443]",
    "OUT -p tcp --dport 8443 # -g @_OUT_REDIR",
  ],
  [
    "cidr-included",
    asked("outbound", "10.2.0.1", 80),
    "cidrs[policy 3, outbound-include, 10.0.0.0/8]",
    "OUT -d 10.0.0.0/8 -p tcp # -g @_OUT_REDIR",
  ],
  [
    "not-included",
    asked("outbound", "203.0.113.1", 80),
    "workloads[2]: no entry of ports or cidrs",
    "OUT: no rule, its end",
  ],
  [
    "own-traffic",
    asked("outbound", "10.2.0.1", 80, { owner: { uid: 1337, gid: 5 } }),
    "owners[policy 3, uid, 1337]",
    "OUT -m owner --uid-owner 1337 # -j RETURN",
  ],
  [
    "proxy-to-self",
    asked("outbound", "10.1.1.1", 80, { owner: { uid: 1337, gid: 5 } }),
    "owners[policy 3, uid, 1337]",
    "OUT ! -d 127.0.0.0/8 -o lo -p tcp -m owner --uid-owner 1337 # -j @_IN",
  ],
  [
    "port-excluded",
    asked("inbound", "10.1.1.1", 15021),
    "ports[policy 3, inbound, exclude, 15021]",
    "IN -p tcp -m multiport --dports 15020,15021,15090 # -j RETURN",
  ],
  [
    "cidr-excluded",
    asked("inbound", "fd00::1", 80, { source: "fd00:9::7" }),
    "cidrs[policy 3, inbound-exclude, fd00:9::/32]",
    "IN -s fd00:9::/32 # -j RETURN",
  ],
  [
    "all-included",
    asked("inbound", "10.1.1.1", 80),
    "workloads[2].flags INBOUND_ALL_PORTS, INBOUND_ALL_SOURCES",
    "IN -p tcp # -g @_IN_REDIR",
  ],
];

describe("what of a back-end gives a decision", () => {
  it.each(cases)("is named for %s", (reason, question, entry, rule) => {
    const decision = decide(spec, question);
    expect(decision.reason).toBe(reason);
    expect(ebpfRuleFor({ slot: 2, policy: 3 }, question, decision)).toBe(entry);
    const text = rule.replace("#", comment).replace("@", chain);
    const named = text.includes("no rule") ? `nat ${chain}_${text}` : `nat -A ${chain}_${text}`;
    expect(iptablesRuleFor(plan(spec), spec, question, decision)).toBe(named);
  });

  it("is in mangle where TPROXY lets the proxy into its own pod, and ends where its chain is", () => {
    const plan = planTproxy(spec);
    const own = asked("outbound", "10.1.1.1", 80, { owner: { uid: 1337, gid: 5 } });
    expect(iptablesRuleFor(plan, spec, own, decide(spec, own))).toMatch(
      /^mangle -A \S+_REENTER ! -d 127\.0\.0\.\d\/\d+ -o lo .*--uid-owner 1337 .*-j MARK --set-xmark 0x\w+\/0x\w+$/,
    );
    const dead = { ...spec, inbound: { ...anInbound(), includePorts: [] } };
    const arriving = asked("inbound", "10.1.1.1", 81);
    expect(iptablesRuleFor(planTproxy(dead), dead, arriving, decide(dead, arriving))).toBe(
      `mangle ${chain}_IN: no rule, its end`,
    );
  });
});
