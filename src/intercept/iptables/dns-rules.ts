// SPDX-License-Identifier: Apache-2.0

import { dnsPorts, resolversByPort } from "../dns-ports.ts";
import type { DnsCapture, InterceptSpec } from "../spec.ts";
import type { TablePlan } from "./chain-plan.ts";
import { workloadChain } from "./naming.ts";
import { keptOutByGroup, leavingBy } from "./own-traffic.ts";
import { capturesDns } from "./ports.ts";
import { BEGINNING, type Family, goTo, hostsOf, localhost, type Rule, returns, rule } from "./rule.ts";

type ActiveCapture = Exclude<DnsCapture, { kind: "off" }>;

/** The capture in force, or undefined when it is off or port 53 is excluded. */
function activeDns(spec: InterceptSpec): ActiveCapture | undefined {
  const outbound = spec.outbound;
  if (!outbound || !capturesDns(outbound) || outbound.dns.kind === "off") return undefined;
  return outbound.dns;
}

/** Queries to the captured resolvers, each with the target for the DNS port; undefined without capture. */
export function dnsRules(
  spec: InterceptSpec,
  family: Family,
  target: (port: number) => readonly string[],
): Rule[] | undefined {
  const dns = activeDns(spec);
  if (!dns) return undefined;
  const udp = resolverMatches(dns, family).map(({ to, port }) =>
    rule([...to, "-p", "udp", "--dport", "53"], target(port)),
  );
  const tcp = resolverMatches(dns, family).map(({ to }) =>
    rule([...to, ...BEGINNING, "--dport", "53"], target(dns.port)),
  );
  return [...udp, ...tcp];
}

/**
 * raw: a captured query and its answer get a conntrack zone of their own. Without it the forwarder's query to
 * the same resolver, from a source port that the workload used a moment ago, meets the workload's entry and
 * is led back to the forwarder. istio-iptables uses zones 1 and 2 for this; the forwarder's traffic stays in
 * the default zone here, so that nothing has to be done to answers arriving for other programs. The DNS port
 * is unique in the namespace, which makes it a zone number no other workload has; the further ports share it. The rule for answers is not bound to
 * the workload's cgroup: our forwarder sends them.
 */
export function dnsZones(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
): TablePlan[] {
  const dns = activeDns(spec);
  if (!dns || !spec.outbound) return [];
  const zone = ["-j", "CT", "--zone", String(dns.port)];
  const chain = workloadChain(spec.name, "DNS");
  const kept = [...leavingBy(spec.interfaces), ...own, ...keptOutByGroup(spec.outbound.ownerGroups)];
  const queries = resolverMatches(dns, family).map(({ to }) => rule([...to, "-p", "udp", "--dport", "53"], zone));
  const answers = rule(["-s", localhost(family), "-p", "udp", ...fromPorts(dnsPorts(dns))], zone);
  const dispatch = rule(["-p", "udp", "--dport", "53", ...scope], goTo(chain));
  return [
    {
      table: "raw",
      chains: [{ name: chain, rules: [...returns(kept), ...queries] }],
      dispatch: [{ hook: "OUTPUT", rules: [answers, dispatch] }],
    },
  ];
}

/** Destinations, each with the port for UDP queries to it. */
function resolverMatches(
  dns: ActiveCapture,
  family: Family,
): { readonly to: readonly string[]; readonly port: number }[] {
  if (dns.kind === "all") return [{ to: [], port: dns.port }];
  return [...resolversByPort(dns, family)].flatMap(([port, servers]) =>
    hostsOf(family, servers).map((host) => ({ to: ["-d", host], port })),
  );
}

function fromPorts(ports: readonly number[]): string[] {
  return ports.length === 1 ? ["--sport", String(ports[0])] : ["-m", "multiport", "--sports", ports.join(",")];
}
