// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec, OutboundSpec } from "../spec.ts";
import { workloadChain } from "./naming.ts";
import {
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
  rule,
} from "./rule.ts";

export interface ChainPlan {
  readonly name: string;
  readonly rules: readonly Rule[];
}

/**
 * The chains for what leaves the workload's sockets, in the order of istio-iptables' ISTIO_OUTPUT: excluded
 * ports, the pass-through source, the proxy's own traffic, DNS, loopback and local addresses, excluded
 * ranges, included ports, included ranges. `own` are the matches of the proxy's traffic.
 */
export function outboundChains(spec: InterceptSpec, family: Family, own: readonly (readonly string[])[]): ChainPlan[] {
  const outbound = spec.outbound;
  const out = workloadChain(spec.name, "OUT");
  const redirect = workloadChain(spec.name, "OUT_REDIR");
  const rules: Rule[] = [];
  if (outbound) {
    rules.push(...portMatches("tcp", outbound.excludePorts).map((match) => rule(match, RETURN)));
    // UDP concerns DNS alone: nothing below leads other datagrams anywhere.
    const udp = outbound.dns.kind === "off" ? [] : outbound.excludePorts;
    rules.push(...portMatches("udp", udp).map((match) => rule(match, RETURN)));
  }
  rules.push(rule(["-s", passthroughSource(family), "-o", "lo"], RETURN));
  if (spec.inbound && spec.proxy.external) rules.push(...proxyToSelf(spec, family, own));
  rules.push(...own.map((match) => rule(match, RETURN)));
  if (!outbound) return [{ name: out, rules }];

  rules.push(...portMatches("tcp", ownPorts(spec)).map((match) => rule(["-d", localhost(family), ...match], RETURN)));
  if (capturesDns(outbound)) rules.push(rule([], jump(workloadChain(spec.name, "DNS"))));
  rules.push(...loopbackRules(outbound, family));
  rules.push(...cidrsOf(family, outbound.excludeCidrs).map((cidr) => rule(["-d", cidr], RETURN)));
  rules.push(...portMatches("tcp", outbound.includePorts).map((match) => rule(match, goTo(redirect))));
  if (outbound.includeCidrs === "all") rules.push(rule(["-p", "tcp"], goTo(redirect)));
  else
    rules.push(
      ...cidrsOf(family, outbound.includeCidrs).map((cidr) => rule(["-d", cidr, "-p", "tcp"], goTo(redirect))),
    );
  return [
    { name: redirect, rules: [redirectTo(outbound.port)] },
    { name: out, rules },
  ];
}

/**
 * An unmodified sidecar that calls its own pod enters through the inbound port. Our own proxy (recognised by
 * mark) never does: it knows that the destination is local and takes the inbound path itself.
 */
function proxyToSelf(spec: InterceptSpec, family: Family, own: readonly (readonly string[])[]): Rule[] {
  const notDns = spec.outbound && capturesDns(spec.outbound) ? ["-m", "tcp", "!", "--dport", "53"] : [];
  const match = ["!", "-d", localhost(family), "-o", "lo", "-p", "tcp", ...notDns];
  return own.map((identity) => rule([...match, ...identity], jump(workloadChain(spec.name, "IN"))));
}

/** Everything to an address of the namespace leaves by `lo`, loopback addresses included. */
function loopbackRules(outbound: OutboundSpec, family: Family): Rule[] {
  const loopback = loopbackRange(family);
  if (outbound.captureLoopback && outbound.captureLocal) return [];
  if (outbound.captureLoopback) return [rule(["!", "-d", loopback, "-o", "lo"], RETURN)];
  if (outbound.captureLocal) return [rule(["-d", loopback], RETURN)];
  // The range as well: a namespace may route 127.0.0.0/8 elsewhere (route_localnet).
  return [rule(["-o", "lo"], RETURN), rule(["-d", loopback], RETURN)];
}

/** Port 53 excluded means DNS is excluded; the rules before would return first anyway. */
export function capturesDns(outbound: OutboundSpec): boolean {
  return outbound.dns.kind !== "off" && !outbound.excludePorts.includes(53);
}

/** Ports our proxy listens on: never led to another of them. */
export function ownPorts(spec: InterceptSpec): number[] {
  const dns = spec.outbound?.dns;
  const ports = [
    spec.outbound?.port,
    spec.inbound?.port,
    dns === undefined || dns.kind === "off" ? undefined : dns.port,
  ];
  return ports.filter((port) => port !== undefined);
}

/** From OUTPUT the destination becomes 127.0.0.1 or ::1; from PREROUTING the address of the interface. */
export function redirectTo(port: number): Rule {
  return rule(["-p", "tcp", ...BEGINNING], ["-j", "REDIRECT", "--to-ports", String(port)]);
}

/**
 * A connection that is older than the rules is new to conntrack all the same (nf_conntrack_tcp_loose), and its next packet
 * would be led to a listener that knows nothing of it.
 */
export const BEGINNING: readonly string[] = ["--syn"];
