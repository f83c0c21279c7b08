// SPDX-License-Identifier: Apache-2.0
import type { Mount } from "../../util/mountinfo.ts";
import { OWN_NETNS } from "../network-namespace.ts";
import type { InterceptSpec } from "../spec.ts";
import { type CgroupMatch, matchCgroup } from "./cgroup-match.ts";
import { joinParts, type Part } from "./chain.ts";
import { inboundPart } from "./inbound-rules.ts";
import { workloadPrefix } from "./naming.ts";
import { NftablesError } from "./nftables-error.ts";
import { outboundPart, type Scope } from "./outbound-rules.ts";
import { ownTraffic } from "./own-traffic.ts";
import { dnsZonePart, dropInvalidPart, preserveSourcePart } from "./raw-rules.ts";

/** What the plan depends on besides the specification. */
export interface PlanFacts {
  /** Where cgroup v2 is mounted (util/mountinfo.ts findCgroup2); needed only when a cgroup is matched. */
  readonly cgroup2?: Pick<Mount, "mountPoint" | "root">;
}

export interface NftablesPlan extends Part {
  readonly name: string;
  /** Begins the names of everything of this workload. */
  readonly prefix: string;
  readonly netnsPath: string;
  /** What these rules can't do of what was asked, in sentences. */
  readonly warnings: readonly string[];
}

/**
 * Pure: the same specification and facts give the same plan. Throws an NftablesError for what can't be done. Listeners
 * have to be where REDIRECT leads: outbound and DNS ones on loopback, inbound ones on any address, and with rerouted
 * interfaces outbound ones too.
 */
export function plan(spec: InterceptSpec, facts: PlanFacts = {}): NftablesPlan {
  const { target, inbound, outbound } = spec;
  // In a namespace of its own, whatever arrives is the workload's.
  if (target.kind === "cgroup" && target.netnsPath === OWN_NETNS && inbound) {
    throw unsupported(
      spec,
      `inbound connections can't be matched by cgroup ${target.path}: a packet that arrives has no socket yet`,
    );
  }
  const cgroup = (directory: string): CgroupMatch => matchCgroup(directory, facts.cgroup2);
  const own = ownTraffic(spec.proxy, cgroup);
  if (own.length === 0 && target.kind === "netns" && outbound) {
    throw unsupported(spec, "nothing tells the proxy's own traffic from the workload's: it would be led to itself");
  }
  const scope = scopeOf(spec, cgroup);
  return {
    name: spec.name,
    prefix: workloadPrefix(spec.name),
    netnsPath: target.kind === "netns" ? target.path : target.netnsPath,
    ...joinParts([
      dropInvalidPart(spec),
      preserveSourcePart(spec),
      dnsZonePart(spec, own, scope),
      outboundPart(spec, own, scope),
      inboundPart(spec),
    ]),
    warnings: warningsFor(spec),
  };
}

function scopeOf({ target }: InterceptSpec, cgroup: (directory: string) => CgroupMatch): Scope {
  if (target.kind === "netns") return { rank: { kind: "netns" } };
  const { level, phrase } = cgroup(target.path);
  return { rank: { kind: "level", level }, ...(phrase === undefined ? {} : { phrase }) };
}

function warningsFor({ failMode, outbound }: InterceptSpec): string[] {
  const warnings: string[] = [];
  if (failMode === "direct") {
    warnings.push(
      "failMode direct: rules can't see whether the proxy listens; while it is away, connections are refused as with deny",
    );
  }
  const dns = outbound?.dns;
  if (dns && dns.kind !== "off" && (dns.kind === "all" || dns.servers.length > 1)) {
    warnings.push(
      "dns: over UDP the resolver a query was sent to is not known in nftables mode; the workload's first resolver that answers is asked",
    );
  }
  return warnings;
}

function unsupported({ name }: InterceptSpec, message: string): NftablesError {
  return new NftablesError("ERR_NFTABLES_UNSUPPORTED", `${name}: ${message}`);
}
