// SPDX-License-Identifier: Apache-2.0
import { resolversByPort } from "../dns-ports.ts";
import type { DnsCapture, InterceptSpec, OutboundSpec } from "../spec.ts";
import { type AddressMatch, matchRanges } from "./address-set.ts";
import type { Chain } from "./chain.ts";
import { workloadPrefix } from "./naming.ts";
import {
  addressField,
  anyOf,
  type Count,
  type CountedReason,
  FAMILIES,
  familyOff,
  LINK_LOCAL,
  LOOPBACK,
  ofFamily,
  ports,
  type Rule,
  rule,
} from "./rule.ts";

export type ActiveDns = Exclude<DnsCapture, { kind: "off" }>;

/** What a chain of rules does with connections that it captures. */
interface Capture {
  readonly match: readonly string[];
  readonly reason: CountedReason;
  readonly target: string;
  /** Whether link-local destinations can be among them. */
  readonly linkLocal: boolean;
}

/**
 * What arrives by these interfaces comes from a machine behind the pod: it meets the outbound policy, but for what a
 * packet without a socket of this namespace can't be asked, and, as with istio-iptables, DNS and local addresses.
 */
export function reroutedChain(spec: InterceptSpec, outbound: OutboundSpec): Chain {
  return {
    name: `${workloadPrefix(spec.name)}reroute`,
    rules: [...familyOff(spec.ipv6, "outbound"), ...policy(spec, outbound, { dns: undefined, local: false })],
  };
}

/** The outbound half of decision.ts for packets that are not the proxy's, all of them TCP or, with `dns`, queries. */
export function policy(
  spec: InterceptSpec,
  outbound: OutboundSpec,
  { dns, local }: { readonly dns: ActiveDns | undefined; readonly local: boolean },
): Rule[] {
  const redirect = `goto ${workloadPrefix(spec.name)}out-redirect`;
  const ranges = outboundRanges(spec.name, outbound);
  const capture = (wanted: Omit<Capture, "target">): Rule[] => captureRules(spec, { ...wanted, target: redirect });
  const included = ranges.filter(({ use }) => use === "include");
  return [
    ...(outbound.excludePorts.length > 0
      ? [rule([ports("tcp", outbound.excludePorts)], "return", out("port-excluded"))]
      : []),
    ...(local ? ownerGroups(outbound) : []),
    ...(dns ? dnsRules(spec, dns) : []),
    ...(local && dns ? [rule(["meta l4proto != tcp"], "return")] : []),
    ...(local ? localRules(outbound) : []),
    ...ranges
      .filter(({ use }) => use === "exclude")
      .map(({ phrase }) => rule([phrase("daddr")], "return", out("cidr-excluded"))),
    ...(outbound.includePorts.length > 0
      ? capture({ match: [ports("tcp", outbound.includePorts)], reason: "port-included", linkLocal: true })
      : []),
    ...(outbound.includeCidrs === "all"
      ? capture({ match: [], reason: "all-included", linkLocal: true })
      : included.flatMap(({ phrase, family }) =>
          capture({ match: [phrase("daddr")], reason: "cidr-included", linkLocal: family === 6 }),
        )),
    ...(outbound.includeCidrs === "all" ? [] : [rule([], "return", out("not-included"))]),
  ];
}

/** The proxy could not reach a link-local address, whose interface it does not learn: the fail mode decides. */
function captureRules(spec: InterceptSpec, { match, reason, target, linkLocal }: Capture): Rule[] {
  const rules: Rule[] = [];
  if (linkLocal) {
    // Dropped and not rejected: an answer would have to go back through that interface, which the kernel does not do.
    const statement = spec.failMode === "deny" ? "drop" : "return";
    rules.push(rule([...match, `ip6 daddr ${LINK_LOCAL}`], statement, out("link-local")));
  }
  return [...rules, rule(match, target, out(reason))];
}

function dnsRules(spec: InterceptSpec, dns: ActiveDns): Rule[] {
  return (["udp", "tcp"] as const).flatMap((protocol) =>
    resolverPhrases(dns, protocol).flatMap(({ phrases, linkLocal, port }) => {
      const target = `redirect to :${port}`;
      return captureRules(spec, { match: [`${protocol} dport 53`, ...phrases], reason: "dns", target, linkLocal });
    }),
  );
}

interface ResolverPhrases {
  readonly phrases: readonly string[];
  readonly linkLocal: boolean;
  /** Of the forwarder. */
  readonly port: number;
}

/** For each family the captured resolvers, for UDP apart by the port that queries to them go to; without phrases: all. */
export function resolverPhrases(dns: ActiveDns, protocol: "udp" | "tcp"): readonly ResolverPhrases[] {
  if (dns.kind === "all") return [{ phrases: [], linkLocal: true, port: dns.port }];
  return FAMILIES.flatMap((family) => {
    const servers = ofFamily(family, dns.servers);
    const apart = protocol === "udp" ? [...resolversByPort(dns, family)] : [[dns.port, servers] as const];
    return apart
      .filter(([, some]) => some.length > 0)
      .map(([port, some]) => ({
        phrases: [`${addressField(family, "daddr")} ${anyOf(some)}`],
        linkLocal: some.some((server) => /^fe[89ab]/.test(server)),
        port,
      }));
  });
}

/** The capture in force, or undefined when it is off or port 53 is excluded. */
export function activeDns(outbound: OutboundSpec): ActiveDns | undefined {
  return outbound.dns.kind === "off" || outbound.excludePorts.includes(53) ? undefined : outbound.dns;
}

/** Everything to an address of the namespace leaves by lo, loopback addresses included. */
function localRules({ captureLoopback, captureLocal, captureLocalDns, dns }: OutboundSpec): Rule[] {
  const notDns = captureLocalDns && dns.kind !== "off" ? ["tcp dport != 53"] : [];
  const loopback = FAMILIES.map((family) =>
    rule([`${addressField(family, "daddr")} ${LOOPBACK[family]}`, ...notDns], "return", out("loopback")),
  );
  const local = FAMILIES.map((family) =>
    rule(
      ['oifname "lo"', `${addressField(family, "daddr")} != ${LOOPBACK[family]}`, ...notDns],
      "return",
      out("local-address"),
    ),
  );
  return [...(captureLoopback ? [] : loopback), ...(captureLocal ? [] : local)];
}

export function ownerGroups({ ownerGroups: { kind, groups } }: OutboundSpec): Rule[] {
  const count = out("owner-group");
  if (kind === "only") {
    return [rule(groups.length === 0 ? [] : [`meta skgid != ${anyOf(groups)}`], "return", count)];
  }
  return groups.length === 0 ? [] : [rule([`meta skgid ${anyOf(groups)}`], "return", count)];
}

/** The ranges of the policy; of one family, at most one entry for each use. */
export function outboundRanges(
  name: string,
  outbound: OutboundSpec,
): (AddressMatch & { readonly use: "exclude" | "include" })[] {
  const { excludeCidrs, includeCidrs } = outbound;
  const lists = { exclude: excludeCidrs, include: includeCidrs === "all" ? [] : includeCidrs };
  return (["exclude", "include"] as const).flatMap((use) =>
    FAMILIES.flatMap((family) => {
      const match = matchRanges(`${workloadPrefix(name)}out-${use}`, family, lists[use]);
      return match ? [{ ...match, use }] : [];
    }),
  );
}

function out(reason: CountedReason): Count {
  return { direction: "outbound", reason };
}
