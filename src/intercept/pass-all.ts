// SPDX-License-Identifier: Apache-2.0
import type { DnsCapture, InboundSpec, InterceptSpec, OutboundSpec } from "./spec.ts";

/**
 * The same workload with nothing captured any more. Unlike with the directions off, rules keep their REDIRECT, unused:
 * with the last one of a namespace the kernel stops tracking connections (nf_ct_netns_put in net/netfilter/xt_REDIRECT.c
 * and nft_redir.c), and what the proxy sends on those that were redirected, its resets too, leaves untranslated.
 */
export function passAll(spec: InterceptSpec): InterceptSpec {
  const { outbound, inbound } = spec;
  return { ...spec, ...(outbound && { outbound: passing(outbound) }), ...(inbound && { inbound: passingIn(inbound) }) };
}

/**
 * What goes between `before` and `after` so that nothing which `before` captured is harmed: a direction that is to go off,
 * and DNS, still have their port, but capture nothing; connections with a client's address keep their rules.
 */
export function between(before: InterceptSpec, after: InterceptSpec): InterceptSpec {
  const outbound = after.outbound ?? (before.outbound && passing(before.outbound));
  const inbound = after.inbound ?? (before.inbound && passingIn(before.inbound));
  const dns = before.outbound?.dns ?? { kind: "off" };
  const preserveMark = before.inbound?.preserveMark;
  return {
    ...after,
    ...(outbound && {
      outbound: outbound.dns.kind === "off" && dns.kind !== "off" ? { ...outbound, dns: noQueries(dns) } : outbound,
    }),
    ...(inbound && { inbound: preserveMark === undefined ? inbound : { ...inbound, preserveMark } }),
  };
}

/** Captures what either captures while one takes over from the other, `after` where both have the direction. */
export function both(before: InterceptSpec, after: InterceptSpec): InterceptSpec {
  return {
    ...between(before, after),
    ...(!after.outbound && before.outbound && { outbound: before.outbound }),
    ...(!after.inbound && before.inbound && { inbound: before.inbound }),
  };
}

function passing(outbound: OutboundSpec): OutboundSpec {
  const { dns } = outbound;
  return {
    ...outbound,
    includePorts: [],
    includeCidrs: [],
    dns: dns.kind === "off" ? dns : noQueries(dns),
  };
}

function passingIn(inbound: InboundSpec): InboundSpec {
  return { ...inbound, includePorts: [], includeCidrs: [] };
}

/** Answers that are under way still come from the ports they were asked at. */
function noQueries(dns: Exclude<DnsCapture, { kind: "off" }>): DnsCapture {
  return { ...dns, kind: "servers", servers: [] };
}
