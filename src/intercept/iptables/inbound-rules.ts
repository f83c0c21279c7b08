// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "../spec.ts";
import { workloadChain } from "./naming.ts";
import { type ChainPlan, ownPorts, redirectTo } from "./outbound-rules.ts";
import { cidrsOf, type Family, goTo, passthroughSource, portMatches, RETURN, type Rule, rule } from "./rule.ts";

/** The chains for connections that reach the workload, in the order of istio-iptables' ISTIO_INBOUND. */
export function inboundChains(spec: InterceptSpec, family: Family): ChainPlan[] {
  const inbound = spec.inbound;
  if (!inbound) return [];
  const redirect = workloadChain(spec.name, "IN_REDIR");
  const rules: Rule[] = [
    // What the workload sends to itself has been decided in OUTPUT; conntrack keeps that decision, but only for
    // packets it knows, so it is said here too.
    rule(["-i", "lo"], RETURN),
    rule(["-s", passthroughSource(family)], RETURN),
    ...portMatches("tcp", ownPorts(spec)).map((match) => rule(match, RETURN)),
    ...portMatches("tcp", inbound.excludePorts).map((match) => rule(match, RETURN)),
    ...cidrsOf(family, inbound.excludeCidrs).map((cidr) => rule(["-s", cidr], RETURN)),
  ];
  const ports = inbound.includePorts === "all" ? [["-p", "tcp"]] : portMatches("tcp", inbound.includePorts);
  const clients =
    inbound.includeCidrs === "all" ? [[]] : cidrsOf(family, inbound.includeCidrs).map((cidr) => ["-s", cidr]);
  for (const client of clients) {
    rules.push(...ports.map((match) => rule([...client, ...match], goTo(redirect))));
  }
  return [
    { name: redirect, rules: [redirectTo(inbound.port)] },
    { name: workloadChain(spec.name, "IN"), rules },
  ];
}
