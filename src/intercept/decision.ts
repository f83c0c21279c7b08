// SPDX-License-Identifier: Apache-2.0
/**
 * The decision of bpf/include/policy.h and connect.h in TypeScript: what happens to a connection, and which rule
 * says so. `explain` answers with it; a property test holds it against the programs.
 */
import { canonicalIp, cidrContains, ipFamily } from "../util/ip.ts";
import { matchesInterface } from "./interface-name.ts";
import { ownPorts } from "./own-ports.ts";
import type { Cidr, InterceptSpec, OutboundSpec, SelfEntry, SelfEntryOwners } from "./spec.ts";
import { isLinkLocal, isLocalhost, isLoopback, isPassthrough, isUnspecified } from "./special-address.ts";

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
  | "link-local"
  | "family-off"
  | "interface-excluded"
  | "owner-group"
  | "hop-left-out";

export interface Question {
  readonly direction: "outbound" | "inbound";
  readonly transport: "tcp" | "udp";
  /** Client address; for outbound only looked at when it was bound before connecting. */
  readonly source?: string;
  readonly address: string;
  readonly port: number;
  /** The connection is made by the workload's own proxy; one that `owner` tells for it is so as well. */
  readonly fromProxy: boolean;
  /** Who connects. Absent: nobody that a list names. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** SO_MARK of the socket; `fromProxy` says whether it is the proxy's. */
  readonly mark?: number;
  /** The interface by which it arrives or leaves. Absent: none that is excluded. */
  readonly interface?: string;
  /** SO_BINDTODEVICE names another interface than lo: the socket cannot reach the proxy. Outbound; false if absent. */
  readonly boundToDevice?: boolean;
  /** Inbound, and made by the proxy of a workload of the same agent that has `oneHop` too; false if absent. */
  readonly hadHop?: boolean;
  /** Addresses of the workload's network namespace, loopback aside. */
  readonly localAddresses: readonly string[];
}

/** The configured thing that decided, as data: what a back-end made of it is found by this. */
export type Item =
  | {
      readonly kind: "port";
      readonly direction: "outbound" | "inbound";
      readonly action: "exclude" | "include";
      readonly port: number;
    }
  | { readonly kind: "cidr"; readonly set: CidrSetName; readonly cidr: Cidr }
  | { readonly kind: "owner"; readonly by: "uid" | "gid"; readonly id: number }
  | { readonly kind: "interface"; readonly name: string }
  | { readonly kind: "address"; readonly address: string };

export type CidrSetName =
  | "outbound-exclude"
  | "outbound-include"
  | "inbound-exclude"
  | "inbound-include"
  | "dns-server";

export interface Decision {
  readonly verdict: Verdict;
  readonly reason: Reason;
  /** The configured item that decided, as `outbound.excludePorts: 22`; empty where none did. */
  readonly rule: string;
  /** Absent where a setting of the whole workload decided, or what no configuration changes. */
  readonly item?: Item;
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

function answer(reason: Reason, rule = "", item?: Item): Decision {
  const verdict = captured.has(reason) ? "redirect" : "pass";
  return item === undefined ? { verdict, reason, rule } : { verdict, reason, rule, item };
}

function portAnswer(reason: Reason, direction: "outbound" | "inbound", port: number): Decision {
  const action = reason === "port-excluded" ? "exclude" : "include";
  return answer(reason, `${direction}.${action}Ports: ${port}`, { kind: "port", direction, action, port });
}

function cidrAnswer(reason: Reason, direction: "outbound" | "inbound", cidr: Cidr): Decision {
  const action = reason === "cidr-excluded" ? "exclude" : "include";
  const item = { kind: "cidr", set: `${direction}-${action}`, cidr } as const;
  return answer(reason, `${direction}.${action}Cidrs: ${text(cidr)}`, item);
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
  const fromPassthrough = leavesFromPassthrough(question, address, local);
  const owner = proxyOwner(spec, question);
  if (question.fromProxy || owner) {
    const enters = !fromPassthrough && !familyOff(spec, address) && entersItself(spec, question, address, local);
    return answer(enters ? "proxy-to-self" : "own-traffic", ownerRule(owner), owner);
  }
  const listeners = [spec.outbound?.port, spec.inbound?.port];
  if (isLocalhost(address) && listeners.includes(question.port)) return answer("own-listener");
  if (fromPassthrough) return answer("passthrough-source");
  return spec.outbound ? decideOutboundPolicy(spec, spec.outbound, question, address, local) : answer("direction-off");
}

/** To ::6 the route gives ::6 as the source as well; to 127.0.0.6 it gives 127.0.0.1. */
function leavesFromPassthrough({ source }: Question, address: string, local: boolean): boolean {
  return source === undefined ? local && address === "::6" : isPassthrough(canonicalIp(source));
}

function proxyOwner({ proxy }: InterceptSpec, { owner }: Question): Extract<Item, { kind: "owner" }> | undefined {
  if (!owner) return undefined;
  if (proxy.uids.includes(owner.uid)) return { kind: "owner", by: "uid", id: owner.uid };
  return proxy.gids.includes(owner.gid) ? { kind: "owner", by: "gid", id: owner.gid } : undefined;
}

function ownerRule(owner: Extract<Item, { kind: "owner" }> | undefined): string {
  return owner === undefined ? "" : `proxy.${owner.by}s: ${owner.id}`;
}

/** A proxy that is not ours and calls its own pod comes in by the inbound listener, as with istio-iptables. */
function entersItself(spec: InterceptSpec, question: Question, address: string, local: boolean): boolean {
  const { external, selfEntry } = spec.proxy;
  if (!external || !spec.inbound || question.transport !== "tcp" || isLinkLocal(address)) return false;
  if (interfaceAnswer(spec, "lo")) return false;
  const captures = decideInboundPolicy(spec, address, question.port).verdict === "redirect";
  if (!selfEntry) return local && !isLocalhost(address) && !ownPorts(spec).includes(question.port) && captures;
  const own = (local || isLoopback(address)) && !isUnspecified(address);
  if (!own || longest(selfEntry.excludeCidrs, address)) return false;
  return entersBySelfEntry(spec, selfEntry, question, captures);
}

function entersBySelfEntry(spec: InterceptSpec, self: SelfEntry, question: Question, captures: boolean): boolean {
  const owner = proxyOwner(spec, question);
  if (owner && entersByOwner(self[`${owner.by}s`], owner.id, question.port)) return true;
  return self.transparent && captures && !hasPreserveMark(spec, question.mark ?? 0);
}

function entersByOwner({ ids, ports }: SelfEntryOwners, id: number, port: number): boolean {
  return ids.includes(id) && ports.ports.includes(port) === (ports.kind === "only");
}

function hasPreserveMark({ inbound }: InterceptSpec, mark: number): boolean {
  const preserve = inbound?.preserveMark;
  return preserve !== undefined && (mark & preserve.mask) >>> 0 === preserve.value >>> 0;
}

function decideOutboundPolicy(
  spec: InterceptSpec,
  outbound: OutboundSpec,
  question: Question,
  address: string,
  local: boolean,
): Decision {
  const { port, transport } = question;
  const before = beforeAddresses(spec, outbound, question, address, local) ?? dnsAnswer(outbound.dns, address, port);
  if (before) return before;
  if (transport === "udp") return answer("not-included", "only TCP and captured DNS are intercepted");
  return localAnswer(outbound, address, port, local) ?? decideByAddress(outbound, address, port);
}

/** What leaves a connection alone wherever it goes. */
function beforeAddresses(
  spec: InterceptSpec,
  outbound: OutboundSpec,
  question: Question,
  address: string,
  local: boolean,
): Decision | undefined {
  if (familyOff(spec, address)) return answer("family-off", "ipv6: false");
  const leavesByRoute = question.boundToDevice === true || !(local || isLoopback(address));
  const excludedBy = interfaceAnswer(spec, leavesByRoute ? question.interface : "lo");
  if (excludedBy) return excludedBy;
  if (outbound.excludePorts.includes(question.port)) return portAnswer("port-excluded", "outbound", question.port);
  return ownerGroupAnswer(outbound, question);
}

function localAnswer(outbound: OutboundSpec, address: string, port: number, local: boolean): Decision | undefined {
  const { dns, captureLocalDns, captureLoopback, captureLocal } = outbound;
  if (port === 53 && dns.kind !== "off" && captureLocalDns) return undefined;
  if (!captureLoopback && isLoopback(address)) return answer("loopback", "outbound.captureLoopback: false");
  if (captureLocal || !local) return undefined;
  return answer("local-address", "outbound.captureLocal: false", { kind: "address", address });
}

function decideByAddress(outbound: OutboundSpec, address: string, port: number): Decision {
  const excluded = longest(outbound.excludeCidrs, address);
  if (excluded) return cidrAnswer("cidr-excluded", "outbound", excluded);
  if (outbound.includePorts.includes(port)) return portAnswer("port-included", "outbound", port);
  if (outbound.includeCidrs === "all") return answer("all-included", "outbound.includeCidrs: *");
  const included = longest(outbound.includeCidrs, address);
  return included ? cidrAnswer("cidr-included", "outbound", included) : answer("not-included");
}

function familyOff(spec: InterceptSpec, address: string): boolean {
  return spec.ipv6 === false && ipFamily(address) === 6;
}

function interfaceAnswer(spec: InterceptSpec, name: string | undefined): Decision | undefined {
  if (name === undefined) return undefined;
  const pattern = spec.interfaces.exclude.find((candidate) => matchesInterface(candidate, name));
  if (pattern === undefined) return undefined;
  return answer("interface-excluded", `interfaces.exclude: ${pattern}`, { kind: "interface", name });
}

function ownerGroupAnswer({ ownerGroups }: OutboundSpec, { owner }: Question): Decision | undefined {
  const listed = owner !== undefined && ownerGroups.groups.includes(owner.gid);
  if (listed === (ownerGroups.kind === "only")) return undefined;
  const rule = `outbound.ownerGroups: ${ownerGroups.kind} ${ownerGroups.groups.join(",")}`.trimEnd();
  return answer("owner-group", rule, listed ? { kind: "owner", by: "gid", id: owner.gid } : undefined);
}

function decideInbound(spec: InterceptSpec, question: Question): Decision {
  const destination = canonicalIp(question.address);
  const source = canonicalIp(question.source ?? UNKNOWN_CLIENT);
  if (question.transport === "udp") return answer("not-included", "only TCP is intercepted inbound");
  if (ownPorts(spec).includes(question.port)) return answer("own-listener");
  if (isPassthrough(source)) return answer("passthrough-source");
  if (isLoopback(source) || source === destination) return answer("loopback");
  if (question.fromProxy) return answer("own-traffic");
  const excludedBy = interfaceAnswer(spec, question.interface);
  if (excludedBy) return excludedBy;
  const decision = decideInboundPolicy(spec, source, question.port);
  if (decision.verdict === "redirect" && spec.oneHop === true && question.hadHop === true) {
    return answer("hop-left-out", "acceleration.hops: one");
  }
  const unreachable = decision.verdict === "redirect" && isLinkLocal(destination);
  return unreachable ? leaveUnproxied(spec, decision, "link-local") : decision;
}

function decideInboundPolicy(spec: InterceptSpec, source: string, port: number): Decision {
  const inbound = spec.inbound;
  if (!inbound) return answer("direction-off");
  if (familyOff(spec, source)) return answer("family-off", "ipv6: false");
  if (inbound.excludePorts.includes(port)) return portAnswer("port-excluded", "inbound", port);
  const excluded = longest(inbound.excludeCidrs, source);
  if (excluded) return cidrAnswer("cidr-excluded", "inbound", excluded);
  if (inbound.includePorts !== "all" && !inbound.includePorts.includes(port)) return answer("not-included");
  if (inbound.includeCidrs === "all") {
    return inbound.includePorts === "all"
      ? answer("all-included", "inbound.includePorts: *")
      : portAnswer("port-included", "inbound", port);
  }
  const included = longest(inbound.includeCidrs, source);
  return included ? cidrAnswer("cidr-included", "inbound", included) : answer("not-included");
}

function dnsAnswer(dns: OutboundSpec["dns"], address: string, port: number): Decision | undefined {
  if (port !== 53 || dns.kind === "off") return undefined;
  if (dns.kind === "all") return answer("dns", "outbound.dns.capture: all");
  if (!dns.servers.some((server) => canonicalIp(server) === address)) return undefined;
  const cidr = { address, prefixLength: ipFamily(address) === 4 ? 32 : 128 };
  return answer("dns", `outbound.dns: ${address}`, { kind: "cidr", set: "dns-server", cidr });
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

function text(cidr: Cidr): string {
  return `${cidr.address}/${cidr.prefixLength}`;
}
