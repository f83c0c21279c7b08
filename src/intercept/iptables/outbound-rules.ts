// SPDX-License-Identifier: Apache-2.0
import { ownPorts } from "../own-ports.ts";
import type { InterceptSpec, OutboundSpec } from "../spec.ts";
import type { ChainPlan } from "./chain-plan.ts";
import { dnsRules } from "./dns-rules.ts";
import { workloadChain } from "./naming.ts";
import { keptOutByGroup, leavingBy } from "./own-traffic.ts";
import {
  BEGINNING,
  cidrsOf,
  type Family,
  goTo,
  jump,
  localhost,
  loopbackRange,
  passthroughSource,
  portMatches,
  RETURN,
  type Rule,
  returns,
  rule,
} from "./rule.ts";

/** What becomes of packets at the points where the policy has decided. */
export interface OutboundEnds {
  /** Target of what is captured. */
  readonly captured: readonly string[];
  /** Rules that stand where DNS is decided. */
  readonly dns: readonly Rule[];
  /** Rules for what an external proxy says to its own workload. */
  readonly toSelf: readonly Rule[];
}

/** The nat chains for what leaves the workload's sockets. `own` are the matches of the proxy's traffic. */
export function outboundChains(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  toSelf: readonly Rule[],
): ChainPlan[] {
  const { outbound } = spec;
  const redirect = workloadChain(spec.name, "OUT_REDIR");
  const dns = workloadChain(spec.name, "DNS");
  const redirected = dnsRules(spec, family, (port) => ["-j", "REDIRECT", "--to-ports", String(port)]);
  const ends = { captured: goTo(redirect), dns: redirected ? [rule([], jump(dns))] : [], toSelf };
  return [
    ...(redirected ? [{ name: dns, rules: redirected }] : []),
    ...(outbound ? [{ name: redirect, rules: [redirectTo(outbound.port)] }] : []),
    { name: workloadChain(spec.name, "OUT"), rules: outboundRules(spec, family, own, ends) },
  ];
}

/**
 * What leaves the workload's sockets, in the order of decision.ts: excluded interfaces, the pass-through source, the
 * proxy's own traffic, excluded ports, groups, DNS, loopback and local addresses, excluded ranges, included ports,
 * included ranges. istio-iptables' ISTIO_OUTPUT has excluded ports before the proxy's own traffic.
 */
export function outboundRules(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  ends: OutboundEnds,
): Rule[] {
  const { outbound } = spec;
  const before = [
    ...returns(leavingBy(spec.interfaces)),
    rule(["-s", passthroughSource(family), "-o", "lo"], RETURN),
    ...ends.toSelf,
    ...returns(own),
  ];
  if (!outbound) return before;
  // UDP concerns DNS alone: nothing else leads other datagrams anywhere.
  const udp = outbound.dns.kind === "off" ? [] : outbound.excludePorts;
  return [
    ...before,
    ...returns(portMatches("tcp", outbound.excludePorts)),
    ...returns(portMatches("udp", udp)),
    ...returns(keptOutByGroup(outbound.ownerGroups)),
    ...returns(portMatches("tcp", ownPorts(spec)).map((match) => ["-d", localhost(family), ...match])),
    ...ends.dns,
    ...loopbackRules(outbound, family),
    ...returns(leftUnproxied(spec, family)),
    ...destinationRules(outbound, family, ends.captured),
  ];
}

/**
 * The proxy cannot reach a link-local address, whose interface it does not learn. With deny such a packet is led to ::1
 * like others, and goes no further: from a link-local address nobody gets there.
 */
function leftUnproxied({ failMode }: InterceptSpec, family: Family): string[][] {
  return failMode === "direct" && family === 6 ? [["-d", "fe80::/10"]] : [];
}

/**
 * What comes in from a machine behind the pod, as if it left one of its sockets. It has no socket here, so nothing is
 * the proxy's and nobody owns it; its queries are its own business, and to it the pod's addresses are others' like any.
 */
export function rerouteRules(spec: InterceptSpec, family: Family, captured: readonly string[]): Rule[] {
  const { outbound } = spec;
  if (!outbound) return [];
  return [...returns(portMatches("tcp", outbound.excludePorts)), ...destinationRules(outbound, family, captured)];
}

/** Excluded ranges, included ports, included ranges. */
function destinationRules(outbound: OutboundSpec, family: Family, captured: readonly string[]): Rule[] {
  const { excludeCidrs, includePorts, includeCidrs } = outbound;
  const ranges = includeCidrs === "all" ? [[]] : cidrsOf(family, includeCidrs).map((cidr) => ["-d", cidr]);
  return [
    ...returns(cidrsOf(family, excludeCidrs).map((cidr) => ["-d", cidr])),
    ...portMatches("tcp", includePorts).map((match) => rule(match, captured)),
    ...ranges.map((range) => rule([...range, "-p", "tcp"], captured)),
  ];
}

/** Everything to an address of the namespace leaves by `lo`, loopback addresses included. */
function loopbackRules(outbound: OutboundSpec, family: Family): Rule[] {
  const loopback = loopbackRange(family);
  // Queries over TCP are left to the ranges.
  const but = outbound.dns.kind !== "off" && outbound.captureLocalDns ? ["-p", "tcp", "!", "--dport", "53"] : [];
  if (outbound.captureLoopback && outbound.captureLocal) return [];
  if (outbound.captureLoopback) return [rule(["!", "-d", loopback, "-o", "lo", ...but], RETURN)];
  if (outbound.captureLocal) return [rule(["-d", loopback, ...but], RETURN)];
  // The range as well: a namespace may route 127.0.0.0/8 elsewhere (route_localnet).
  return [rule(["-o", "lo", ...but], RETURN), rule(["-d", loopback, ...but], RETURN)];
}

/** From OUTPUT the destination becomes 127.0.0.1 or ::1; from PREROUTING the address of the interface. */
export function redirectTo(port: number): Rule {
  return rule(BEGINNING, ["-j", "REDIRECT", "--to-ports", String(port)]);
}
