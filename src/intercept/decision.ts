// SPDX-License-Identifier: Apache-2.0
/**
 * The decision of bpf/include/policy.h and connect.h in TypeScript: what happens to a connection, and which rule
 * says so. `explain` answers with it; a property test holds it against the programs.
 */
import { canonicalIp, cidrContains, ipFamily } from "../util/ip.ts";
import type { Cidr, InterceptSpec, OutboundSpec } from "./spec.ts";

export type Verdict = "pass" | "redirect" | "deny";

/** Names of `enum reason` in bpf/include/types.h. */
export type Reason =
  | "own-traffic"
  | "own-listener"
  | "passthrough-source"
  | "direction-off"
  | "port-excluded"
  | "cidr-excluded"
  | "loopback"
  | "local-address"
  | "not-included"
  | "port-included"
  | "cidr-included"
  | "all-included"
  | "dns"
  | "proxy-to-self"
  | "bound-device"
  | "link-local";

export interface Question {
  readonly direction: "outbound" | "inbound";
  readonly transport: "tcp" | "udp";
  /** Client address; for outbound only looked at when it was bound before connecting. */
  readonly source?: string;
  readonly address: string;
  readonly port: number;
  /** The connection is made by the workload's own proxy. */
  readonly fromProxy: boolean;
  /** SO_BINDTODEVICE names another interface than lo: the socket cannot reach the proxy. Outbound; false if absent. */
  readonly boundToDevice?: boolean;
  /** Addresses of the workload's network namespace, loopback aside. */
  readonly localAddresses: readonly string[];
}

export interface Decision {
  readonly verdict: Verdict;
  readonly reason: Reason;
  /** The configured item that decided, as `outbound.excludePorts: 22`; empty where none did. */
  readonly rule: string;
}

/** Throws an IpError for an address that is none. */
export function decide(spec: InterceptSpec, question: Question): Decision {
  return question.direction === "outbound" ? decideOutbound(spec, question) : decideInbound(spec, question);
}

/** Stands for "some client": a documentation address (RFC 5737) that no range of a user should name. */
const UNKNOWN_CLIENT = "192.0.2.1";

const captured: ReadonlySet<Reason> = new Set([
  "port-included",
  "cidr-included",
  "all-included",
  "dns",
  "proxy-to-self",
]);

function answer(reason: Reason, rule = ""): Decision {
  return { verdict: captured.has(reason) ? "redirect" : "pass", reason, rule };
}

function decideOutbound(spec: InterceptSpec, question: Question): Decision {
  const decision = decideDestination(spec, question);
  if (decision.verdict !== "redirect") return decision;
  if (question.boundToDevice) return leaveUnproxied(spec, decision, "bound-device");
  return isLinkLocal(canonicalIp(question.address)) ? leaveUnproxied(spec, decision, "link-local") : decision;
}

/** Captured, but the proxy cannot take it: the fail mode decides. */
function leaveUnproxied(spec: InterceptSpec, decision: Decision, reason: Reason): Decision {
  const verdict = spec.failMode === "deny" && decision.reason !== "proxy-to-self" ? "deny" : "pass";
  return { ...decision, verdict, reason };
}

function decideDestination(spec: InterceptSpec, question: Question): Decision {
  const address = canonicalIp(question.address);
  const local = question.localAddresses.some((a) => canonicalIp(a) === address);
  const fromPassthrough = question.source !== undefined && isPassthrough(canonicalIp(question.source));
  if (question.fromProxy) {
    return local && !fromPassthrough ? decideProxyToSelf(spec, question, address) : answer("own-traffic");
  }
  const ownPorts = [spec.outbound?.port, spec.inbound?.port];
  if (isLocalhost(address) && ownPorts.includes(question.port)) return answer("own-listener");
  if (fromPassthrough) return answer("passthrough-source");
  return spec.outbound ? decideOutboundPolicy(spec.outbound, question, address, local) : answer("direction-off");
}

/** A proxy that is not ours and calls its own pod comes in by the inbound listener, as with istio-iptables. */
function decideProxyToSelf(spec: InterceptSpec, question: Question, address: string): Decision {
  const reachable = !isLocalhost(address) && !isLinkLocal(address);
  const enters = spec.proxy.external && reachable && question.transport === "tcp";
  if (!enters || decideInboundPolicy(spec, address, question.port).verdict !== "redirect") return answer("own-traffic");
  return answer("proxy-to-self");
}

function decideOutboundPolicy(outbound: OutboundSpec, question: Question, address: string, local: boolean): Decision {
  const { port, transport } = question;
  if (outbound.excludePorts.includes(port)) return answer("port-excluded", `outbound.excludePorts: ${port}`);
  const dns = dnsRule(outbound.dns, address, port);
  if (dns !== undefined) return answer("dns", dns);
  if (transport === "udp") return answer("not-included", "only TCP and captured DNS are intercepted");
  if (!outbound.captureLoopback && isLoopback(address)) return answer("loopback", "outbound.captureLoopback: false");
  if (!outbound.captureLocal && local) return answer("local-address", "outbound.captureLocal: false");
  const excluded = longest(outbound.excludeCidrs, address);
  if (excluded) return answer("cidr-excluded", `outbound.excludeCidrs: ${text(excluded)}`);
  if (outbound.includePorts.includes(port)) return answer("port-included", `outbound.includePorts: ${port}`);
  if (outbound.includeCidrs === "all") return answer("all-included", "outbound.includeCidrs: *");
  const included = longest(outbound.includeCidrs, address);
  return included ? answer("cidr-included", `outbound.includeCidrs: ${text(included)}`) : answer("not-included");
}

function decideInbound(spec: InterceptSpec, question: Question): Decision {
  const destination = canonicalIp(question.address);
  const source = canonicalIp(question.source ?? UNKNOWN_CLIENT);
  const dnsPort = spec.outbound !== undefined && spec.outbound.dns.kind !== "off" ? spec.outbound.dns.port : undefined;
  if (question.transport === "udp") return answer("not-included", "only TCP is intercepted inbound");
  if ([spec.outbound?.port, spec.inbound?.port, dnsPort].includes(question.port)) return answer("own-listener");
  if (isPassthrough(source)) return answer("passthrough-source");
  if (isLoopback(source) || source === destination) return answer("loopback");
  if (question.fromProxy) return answer("own-traffic");
  const decision = decideInboundPolicy(spec, source, question.port);
  const unreachable = decision.verdict === "redirect" && isLinkLocal(destination);
  return unreachable ? leaveUnproxied(spec, decision, "link-local") : decision;
}

function decideInboundPolicy(spec: InterceptSpec, source: string, port: number): Decision {
  const inbound = spec.inbound;
  if (!inbound) return answer("direction-off");
  if (inbound.excludePorts.includes(port)) return answer("port-excluded", `inbound.excludePorts: ${port}`);
  const excluded = longest(inbound.excludeCidrs, source);
  if (excluded) return answer("cidr-excluded", `inbound.excludeCidrs: ${text(excluded)}`);
  if (inbound.includePorts !== "all" && !inbound.includePorts.includes(port)) return answer("not-included");
  if (inbound.includeCidrs === "all") {
    return inbound.includePorts === "all"
      ? answer("all-included", "inbound.includePorts: *")
      : answer("port-included", `inbound.includePorts: ${port}`);
  }
  const included = longest(inbound.includeCidrs, source);
  return included ? answer("cidr-included", `inbound.includeCidrs: ${text(included)}`) : answer("not-included");
}

function dnsRule(
  dns: NonNullable<InterceptSpec["outbound"]>["dns"],
  address: string,
  port: number,
): string | undefined {
  if (port !== 53 || dns.kind === "off") return undefined;
  if (dns.kind === "all") return "outbound.dns.capture: all";
  return dns.servers.some((s) => canonicalIp(s) === address) ? `outbound.dns: ${address}` : undefined;
}

function longest(cidrs: readonly Cidr[], address: string): Cidr | undefined {
  let best: Cidr | undefined;
  for (const cidr of cidrs) {
    // An IPv6 range never holds an IPv4 address, not even ::/0 in its v4-mapped form.
    if (ipFamily(cidr.address) !== ipFamily(address) || !cidrContains(cidr, address)) continue;
    if (!best || cidr.prefixLength > best.prefixLength) best = cidr;
  }
  return best;
}

/** 127.0.0.0/8, ::1, and the unspecified addresses, which connect() takes for loopback. */
function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "0.0.0.0" || address === "::1" || address === "::";
}

/** fe80::/10: means nothing without the interface, which a redirected connection does not keep. */
function isLinkLocal(address: string): boolean {
  return /^fe[89ab][0-9a-f]:/.test(address);
}

function isLocalhost(address: string): boolean {
  return address === "127.0.0.1" || address === "::1";
}

function isPassthrough(address: string): boolean {
  return address === "127.0.0.6" || address === "::6";
}

function text(cidr: Cidr): string {
  return `${cidr.address}/${cidr.prefixLength}`;
}
