// SPDX-License-Identifier: Apache-2.0
import type { Mount } from "../../util/mountinfo.ts";
import { OWN_NETNS } from "../network-namespace.ts";
import type { InterceptSpec } from "../spec.ts";
import { toCgroupMatchPath } from "./cgroup-path.ts";
import { dnsChain, dnsZones } from "./dns-rules.ts";
import { inboundChains } from "./inbound-rules.ts";
import { IptablesError } from "./iptables-error.ts";
import { type Hook, shortId, workloadChain } from "./naming.ts";
import { type ChainPlan, outboundChains } from "./outbound-rules.ts";
import { markMatch, ownTraffic } from "./own-traffic.ts";
import { type Family, goTo, type Rule, rule, type Table } from "./rule.ts";

/** What the plan depends on besides the specification. */
export interface PlanFacts {
  /** Where cgroup v2 is mounted (util/mountinfo.ts findCgroup2); needed only when a cgroup is matched. */
  readonly cgroup2?: Pick<Mount, "mountPoint" | "root">;
}

export interface TablePlan {
  readonly table: Table;
  /** The workload's own chains; a chain comes before those that lead to it. */
  readonly chains: readonly ChainPlan[];
  /** What the workload adds to the chains all workloads of the namespace share. */
  readonly dispatch: readonly { readonly hook: Hook; readonly rules: readonly Rule[] }[];
}

export interface IptablesPlan {
  readonly name: string;
  readonly id: string;
  readonly netnsPath: string;
  readonly families: Readonly<Record<Family, readonly TablePlan[]>>;
  /** What these rules can't do of what was asked, in sentences. */
  readonly warnings: readonly string[];
  /** Addresses the proxy's listeners must be reached at: see `listenerAddresses`. */
  readonly listeners: ListenerNeeds;
}

/**
 * REDIRECT leads connections made in the namespace to its loopback addresses, and connections from outside
 * to the address of the interface they came in by. So an inbound listener has to be bound to 0.0.0.0 and ::.
 */
export interface ListenerNeeds {
  readonly outbound: "loopback";
  readonly inbound: "any";
  readonly dns: "loopback";
}

const LISTENERS: ListenerNeeds = { outbound: "loopback", inbound: "any", dns: "loopback" };

/** Pure: the same specification and facts give the same plan. Throws an IptablesError for what can't be done. */
export function plan(spec: InterceptSpec, facts: PlanFacts = {}): IptablesPlan {
  const { target } = spec;
  // In a namespace of its own, whatever arrives is the workload's.
  if (target.kind === "cgroup" && target.netnsPath === OWN_NETNS && spec.inbound) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `${spec.name}: inbound connections can't be matched by cgroup ${target.path}: a packet that arrives has no socket yet`,
    );
  }
  const cgroupPath = (directory: string): string => toCgroupMatchPath(directory, facts.cgroup2);
  const scope = target.kind === "cgroup" ? ["-m", "cgroup", "--path", cgroupPath(target.path)] : [];
  const own = ownTraffic(spec.proxy, cgroupPath);
  if (own.length === 0 && target.kind === "netns" && spec.outbound) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `${spec.name}: nothing tells the proxy's own traffic from the workload's: it would be led to itself`,
    );
  }
  return {
    name: spec.name,
    id: shortId(spec.name),
    netnsPath: target.kind === "netns" ? target.path : target.netnsPath,
    families: { 4: familyPlan(spec, 4, own, scope), 6: familyPlan(spec, 6, own, scope) },
    warnings: warningsFor(spec),
    listeners: LISTENERS,
  };
}

function familyPlan(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
): TablePlan[] {
  const needsOutput = spec.outbound !== undefined || (spec.inbound !== undefined && spec.proxy.external);
  const dns = dnsChain(spec, family);
  const nat: TablePlan = {
    table: "nat",
    chains: [
      ...inboundChains(spec, family),
      ...(dns ? [dns] : []),
      ...(needsOutput ? outboundChains(spec, family, own) : []),
    ],
    dispatch: [
      ...(needsOutput
        ? [{ hook: "OUTPUT" as const, rules: [rule(scope, goTo(workloadChain(spec.name, "OUT")))] }]
        : []),
      ...(spec.inbound
        ? [{ hook: "PREROUTING" as const, rules: [rule(["-p", "tcp"], goTo(workloadChain(spec.name, "IN")))] }]
        : []),
    ],
  };
  const raw = rawPlan(spec, family, own, scope);
  // raw first: zones without redirection change nothing, redirection without zones does.
  return raw ? [raw, nat] : [nat];
}

function rawPlan(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
): TablePlan | undefined {
  const zones = dnsZones(spec, family, own, scope);
  const preserve = preserveRules(spec);
  if (!zones && !preserve) return undefined;
  return {
    table: "raw",
    chains: zones ? [zones.queries] : [],
    dispatch: [
      { hook: "OUTPUT", rules: [...(preserve?.output ?? []), ...(zones ? [zones.answers, zones.dispatch] : [])] },
      ...(preserve ? [{ hook: "PREROUTING" as const, rules: preserve.prerouting }] : []),
    ],
  };
}

/**
 * A connection with the client's address would have the tuple that conntrack keeps for the client's own, redirected
 * one, when the kernel happens to give it the same port; so it is not tracked, in either direction. The application's
 * answers carry the mark as well (tcp_fwmark_accept).
 */
function preserveRules(spec: InterceptSpec): { output: Rule[]; prerouting: Rule[] } | undefined {
  const mark = spec.inbound?.preserveMark;
  if (!mark) return undefined;
  const match = ["-p", "tcp", ...markMatch(mark)];
  const untracked = ["-j", "CT", "--notrack"];
  return { output: [rule(match, untracked)], prerouting: [rule(["-i", "lo", ...match], untracked)] };
}

function warningsFor(spec: InterceptSpec): string[] {
  const warnings: string[] = [];
  if (spec.failMode === "direct") {
    warnings.push(
      "failMode direct: rules can't see whether the proxy listens; while it is away, connections are refused as with deny",
    );
  }
  const dns = spec.outbound?.dns;
  if (dns && dns.kind !== "off" && (dns.kind === "all" || dns.servers.length > 1)) {
    warnings.push(
      "dns: over UDP the resolver a query was sent to is not known in iptables mode; the workload's first resolver that answers is asked",
    );
  }
  return warnings;
}
