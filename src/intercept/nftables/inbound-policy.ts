// SPDX-License-Identifier: Apache-2.0
import type { InboundSpec, InterceptSpec } from "../spec.ts";
import { type AddressMatch, matchRanges } from "./address-set.ts";
import { workloadPrefix } from "./naming.ts";
import { type Count, type CountedReason, FAMILIES, LINK_LOCAL, ports, type Rule, rule, TCP } from "./rule.ts";

/** For TCP packets. `client`: where a packet has the address that ranges are about. */
export function inboundPolicy(spec: InterceptSpec, inbound: InboundSpec, client: "saddr" | "daddr"): Rule[] {
  const { includePorts, excludePorts, includeCidrs } = inbound;
  const passed = (reason: CountedReason): Count => (client === "saddr" ? into(reason) : out("own-traffic"));
  const excluded = inboundRanges(spec.name, inbound).filter(({ use }) => use === "exclude");
  const takesAll = includePorts === "all" && includeCidrs === "all";
  return [
    ...(excludePorts.length > 0 ? [rule([ports("tcp", excludePorts)], "return", passed("port-excluded"))] : []),
    ...excluded.map(({ phrase }) => rule([phrase(client)], "return", passed("cidr-excluded"))),
    ...inclusions(spec, inbound, client),
    ...(takesAll || client === "daddr" ? [] : [rule([], "return", passed("not-included"))]),
  ];
}

function inclusions(spec: InterceptSpec, inbound: InboundSpec, client: "saddr" | "daddr"): Rule[] {
  const { includePorts, includeCidrs } = inbound;
  if (includePorts.length === 0) return [];
  const wantedPorts = includePorts === "all" ? [] : [ports("tcp", includePorts)];
  const clients =
    includeCidrs === "all"
      ? [{ linkLocal: true, phrases: [] }]
      : inboundRanges(spec.name, inbound)
          .filter(({ use }) => use === "include")
          .map(({ family, phrase }) => ({ linkLocal: family === 6, phrases: [phrase(client)] }));
  return clients.flatMap(({ linkLocal, phrases }) => {
    const match = [...wantedPorts, ...phrases];
    const redirect = `goto ${workloadPrefix(spec.name)}in-redirect`;
    if (client === "daddr") return [rule(match, redirect, into("proxy-to-self"))];
    const captured = rule(match, redirect, into(reasonOf(inbound)));
    return linkLocal ? [linkLocalArrival(spec, match), captured] : [captured];
  });
}

function reasonOf({ includePorts, includeCidrs }: InboundSpec): CountedReason {
  if (includeCidrs !== "all") return "cidr-included";
  return includePorts === "all" ? "all-included" : "port-included";
}

/** The proxy could not reach a link-local address, whose interface it does not learn: the fail mode decides. */
function linkLocalArrival(spec: InterceptSpec, match: readonly string[]): Rule {
  const statement = spec.failMode === "deny" ? "reject with tcp reset" : "return";
  return rule([TCP, ...match, `ip6 daddr ${LINK_LOCAL}`], statement, into("link-local"));
}

export function inboundRanges(
  name: string,
  inbound: InboundSpec,
): (AddressMatch & { readonly use: "exclude" | "include" })[] {
  const { excludeCidrs, includeCidrs } = inbound;
  const lists = { exclude: excludeCidrs, include: includeCidrs === "all" ? [] : includeCidrs };
  return (["exclude", "include"] as const).flatMap((use) =>
    FAMILIES.flatMap((family) => {
      const match = matchRanges(`${workloadPrefix(name)}in-${use}`, family, lists[use]);
      return match ? [{ ...match, use }] : [];
    }),
  );
}

function into(reason: CountedReason): Count {
  return { direction: "inbound", reason };
}

function out(reason: CountedReason): Count {
  return { direction: "outbound", reason };
}
