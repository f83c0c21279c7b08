// SPDX-License-Identifier: Apache-2.0
import type { DnsCapture, InterceptSpec } from "../spec.ts";
import { workloadChain } from "./naming.ts";
import { BEGINNING, type ChainPlan, capturesDns } from "./outbound-rules.ts";
import { type Family, goTo, hostsOf, localhost, RETURN, type Rule, rule } from "./rule.ts";

type ActiveCapture = Exclude<DnsCapture, { kind: "off" }>;

/** The capture in force, or undefined when it is off or port 53 is excluded. */
export function activeDns(spec: InterceptSpec): ActiveCapture | undefined {
  const outbound = spec.outbound;
  if (!outbound || !capturesDns(outbound) || outbound.dns.kind === "off") return undefined;
  return outbound.dns;
}

/** nat: queries to the captured resolvers go to the DNS port. */
export function dnsChain(spec: InterceptSpec, family: Family): ChainPlan | undefined {
  const dns = activeDns(spec);
  if (!dns) return undefined;
  const redirect = ["-j", "REDIRECT", "--to-ports", String(dns.port)];
  const rules = (["udp", "tcp"] as const).flatMap((protocol) =>
    resolverMatches(dns, family).map((to) =>
      rule([...to, "-p", protocol, "--dport", "53", ...(protocol === "tcp" ? BEGINNING : [])], redirect),
    ),
  );
  return { name: workloadChain(spec.name, "DNS"), rules };
}

export interface DnsZones {
  /** Not bound to the workload's cgroup: the answers are sent by our forwarder. */
  readonly answers: Rule;
  readonly queries: ChainPlan;
  readonly dispatch: Rule;
}

/**
 * raw: a captured query and its answer get a conntrack zone of their own. Without it the forwarder's query to
 * the same resolver, from a source port that the workload used a moment ago, meets the workload's entry and
 * is led back to the forwarder. istio-iptables uses zones 1 and 2 for this; the forwarder's traffic stays in
 * the default zone here, so that nothing has to be done to answers arriving for other programs. The DNS port
 * is unique in the namespace, which makes it a zone number no other workload has.
 */
export function dnsZones(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
): DnsZones | undefined {
  const dns = activeDns(spec);
  if (!dns) return undefined;
  const zone = ["-j", "CT", "--zone", String(dns.port)];
  const chain = workloadChain(spec.name, "DNS");
  return {
    answers: rule(["-s", localhost(family), "-p", "udp", "--sport", String(dns.port)], zone),
    queries: {
      name: chain,
      rules: [
        ...own.map((match) => rule(match, RETURN)),
        ...resolverMatches(dns, family).map((to) => rule([...to, "-p", "udp", "--dport", "53"], zone)),
      ],
    },
    dispatch: rule(["-p", "udp", "--dport", "53", ...scope], goTo(chain)),
  };
}

function resolverMatches(dns: ActiveCapture, family: Family): (readonly string[])[] {
  return dns.kind === "all" ? [[]] : hostsOf(family, dns.servers).map((host) => ["-d", host]);
}
