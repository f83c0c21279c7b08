// SPDX-License-Identifier: Apache-2.0
import { resolversByPort } from "../dns-ports.ts";
import type { CidrSet, DnsCapture, InterceptSpec } from "../spec.ts";

/** Rules are tried one after another; from so many ranges on, the cost of a new connection shows in measurements. */
const MANY_RANGES = 100;

/** What rules can't do of what was asked, in sentences. `arrivalsUnknown`: they can't be matched by cgroup. */
export function warningsFor(spec: InterceptSpec, arrivalsUnknown: boolean): string[] {
  const warnings: string[] = [];
  if (spec.failMode === "direct") {
    warnings.push(
      "failMode direct: rules can't see whether the proxy listens; while it is away, connections fail as with deny",
    );
  }
  const dns = spec.outbound?.dns;
  if (dns && dns.kind !== "off" && !tellsResolversApart(dns)) {
    warnings.push(
      "dns: over UDP the resolver a query was sent to is not known in iptables mode; the workload's first resolver that answers is asked",
    );
  }
  if (arrivalsUnknown && spec.dropInvalid) {
    warnings.push("dropInvalid: packets that arrive can't be matched by cgroup; none are dropped");
  }
  if (arrivalsUnknown && spec.interfaces.reroute.length > 0) {
    warnings.push("interfaces.reroute: packets that arrive can't be matched by cgroup; none are captured");
  }
  return [...warnings, ...manyRanges(spec)];
}

/** Whether each listed resolver has a port of the forwarder to itself. */
function tellsResolversApart(dns: Exclude<DnsCapture, { kind: "off" }>): boolean {
  if (dns.kind === "all") return false;
  return ([4, 6] as const).every((family) =>
    [...resolversByPort(dns, family).values()].every(({ length }) => length < 2),
  );
}

function manyRanges({ outbound, inbound }: InterceptSpec): string[] {
  const lists: readonly (readonly [string, CidrSet | undefined])[] = [
    ["outbound.excludeCidrs", outbound?.excludeCidrs],
    ["outbound.includeCidrs", outbound?.includeCidrs],
    ["inbound.excludeCidrs", inbound?.excludeCidrs],
    ["inbound.includeCidrs", inbound?.includeCidrs],
  ];
  return lists.flatMap(([name, ranges]) =>
    ranges !== undefined && ranges !== "all" && ranges.length >= MANY_RANGES
      ? [`${name}: iptables compares every new connection with ${ranges.length} ranges one after another`]
      : [],
  );
}
