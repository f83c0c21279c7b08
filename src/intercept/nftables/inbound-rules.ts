// SPDX-License-Identifier: Apache-2.0
import { ownPorts } from "../own-ports.ts";
import type { InboundSpec, InterceptSpec } from "../spec.ts";
import type { Chain, Part } from "./chain.ts";
import { inboundPolicy, inboundRanges } from "./inbound-policy.ts";
import { workloadPrefix } from "./naming.ts";
import { reroutedChain } from "./outbound-policy.ts";
import {
  addressField,
  type Count,
  type CountedReason,
  excludedInterfaces,
  FAMILIES,
  familyOff,
  interfaces,
  NOT_BEGINNING,
  PASSTHROUGH,
  ports,
  type Rule,
  rule,
  TCP,
} from "./rule.ts";

/** Everything for connections that reach the namespace, in the order of decision.ts. */
export function inboundPart(spec: InterceptSpec): Part {
  const { inbound, outbound, interfaces: nics } = spec;
  const prefix = workloadPrefix(spec.name);
  const reroute = outbound && nics.reroute.length > 0 ? reroutedChain(spec, outbound) : undefined;
  if (!inbound && !reroute) return { chains: [], sets: [], dispatch: [] };
  const main: Chain = {
    name: `${prefix}in`,
    rules: [
      rule([NOT_BEGINNING], "return"),
      ...(reroute ? interfaces("iifname", nics.reroute).map((phrase) => rule([phrase], `goto ${reroute.name}`)) : []),
      ...(inbound ? arrivals(spec, inbound) : []),
    ],
  };
  const redirect: Chain[] = inbound
    ? [{ name: `${prefix}in-redirect`, rules: [rule([TCP], `redirect to :${inbound.port}`)] }]
    : [];
  return {
    chains: [...redirect, ...(reroute ? [reroute] : []), main],
    sets: inbound ? inboundRanges(spec.name, inbound).flatMap(({ set }) => (set ? [set] : [])) : [],
    dispatch: [{ base: "nat-prerouting", rank: { kind: "netns" }, rule: rule([TCP], `goto ${main.name}`) }],
  };
}

function arrivals(spec: InterceptSpec, inbound: InboundSpec): Rule[] {
  return [
    // A pod that routes for others only passes it on.
    rule(["fib daddr type != local"], "return"),
    rule([ports("tcp", ownPorts(spec))], "return", into("own-listener")),
    ...FAMILIES.map((family) =>
      rule([`${addressField(family, "saddr")} ${PASSTHROUGH[family]}`], "return", into("passthrough-source")),
    ),
    // What the namespace sends to itself has been decided where it was sent.
    rule(['iifname "lo"'], "return", into("loopback")),
    ...excludedInterfaces("iifname", spec.interfaces.exclude, "inbound"),
    ...familyOff(spec.ipv6, "inbound"),
    ...inboundPolicy(spec, inbound, "saddr"),
  ];
}

function into(reason: CountedReason): Count {
  return { direction: "inbound", reason };
}
