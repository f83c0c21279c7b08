// SPDX-License-Identifier: Apache-2.0
import type { Mount } from "../../util/mountinfo.ts";
import { OWN_NETNS } from "../network-namespace.ts";
import type { InterceptSpec } from "../spec.ts";
import { toCgroupMatchPath } from "./cgroup-path.ts";
import { mergeTables, type TablePlan } from "./chain-plan.ts";
import { dnsZones } from "./dns-rules.ts";
import { guardTable } from "./guard-rules.ts";
import { type PlanInbound, redirectInbound } from "./inbound-rules.ts";
import { IptablesError } from "./iptables-error.ts";
import { shortId, workloadChain } from "./naming.ts";
import { outboundChains, rerouteRules } from "./outbound-rules.ts";
import { markMatch, ownTraffic } from "./own-traffic.ts";
import type { MarkRoute } from "./policy-routing.ts";
import { DROP, type Family, goTo, returns, rule, TABLES } from "./rule.ts";
import { warningsFor } from "./warnings.ts";

/** What the plan depends on besides the specification. */
export interface PlanFacts {
  /** Where cgroup v2 is mounted (util/mountinfo.ts findCgroup2); needed only when a cgroup is matched. */
  readonly cgroup2?: Pick<Mount, "mountPoint" | "root">;
}

export interface IptablesPlan {
  readonly name: string;
  readonly id: string;
  readonly netnsPath: string;
  /** False: IPv6 is left alone. */
  readonly ipv6: boolean;
  readonly families: Readonly<Record<Family, readonly TablePlan[]>>;
  /** In force while `families` is brought about over something else; see guardTable. */
  readonly guard: Readonly<Record<Family, TablePlan>>;
  /** Marked packets are delivered in the namespace itself. */
  readonly routing?: MarkRoute;
  /** What these rules can't do of what was asked, in sentences. */
  readonly warnings: readonly string[];
  /** Addresses the proxy's listeners must be reached at. */
  readonly listeners: ListenerNeeds;
}

/**
 * REDIRECT leads connections made in the namespace to its loopback addresses, and what comes from outside to the
 * address of the interface it came in by: a listener for that has to be bound to 0.0.0.0 and ::.
 */
export interface ListenerNeeds {
  readonly outbound: "loopback" | "any";
  readonly inbound: "any" | "transparent-loopback";
  readonly dns: "loopback";
}

/** Pure: the same specification and facts give the same plan. Throws an IptablesError for what can't be done. */
export function plan(
  spec: InterceptSpec,
  facts: PlanFacts = {},
  planInbound: PlanInbound = redirectInbound,
): IptablesPlan {
  const { target } = spec;
  // In a namespace of its own, whatever arrives is the workload's.
  const arrivalsUnknown = target.kind === "cgroup" && target.netnsPath === OWN_NETNS;
  if (arrivalsUnknown && spec.inbound) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `${spec.name}: inbound connections can't be matched by cgroup ${target.path}: a packet that arrives has no socket yet`,
    );
  }
  if (spec.proxy.selfEntry) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `${spec.name}: proxy.selfEntry describes istio-iptables' rules to back-ends that have none`,
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
  // Those belong to everybody in the namespace, and cannot be told apart by cgroup either.
  const planned = arrivalsUnknown
    ? { ...spec, dropInvalid: false, interfaces: { ...spec.interfaces, reroute: [] } }
    : spec;
  const of = (family: Family) => familyPlan(planned, family, own, scope, planInbound);
  const ipv6 = spec.ipv6 !== false;
  const [v4, v6] = [of(4), ipv6 ? of(6) : NOTHING];
  return {
    name: spec.name,
    id: shortId(spec.name),
    netnsPath: target.kind === "netns" ? target.path : target.netnsPath,
    ipv6,
    families: { 4: v4.tables, 6: v6.tables },
    guard: { 4: v4.guard, 6: v6.guard },
    warnings: warningsFor(spec, arrivalsUnknown),
    listeners: {
      outbound: planned.interfaces.reroute.length > 0 ? "any" : "loopback",
      inbound: "any",
      dns: "loopback",
    },
  };
}

interface FamilyPlan {
  readonly tables: readonly TablePlan[];
  readonly guard: TablePlan;
}

const NOTHING: FamilyPlan = { tables: [], guard: { table: "filter", chains: [], dispatch: [] } };

function familyPlan(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
  planInbound: PlanInbound,
): FamilyPlan {
  const inbound = planInbound(spec, family, own);
  const parts = [
    ...preserveTables(spec),
    ...dnsZones(spec, family, own, scope),
    ...invalidTables(spec),
    ...rerouteTables(spec, family),
    ...inbound.tables,
    ...outputTables(spec, family, own, scope, inbound.toSelf),
  ];
  return { tables: mergeTables(parts, TABLES), guard: guardTable(spec, family, own, scope, inbound.arrived) };
}

function outputTables(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
  toSelf: Parameters<typeof outboundChains>[3],
): TablePlan[] {
  if (!spec.outbound && toSelf.length === 0) return [];
  const chains = outboundChains(spec, family, own, toSelf);
  const entry = rule(scope, goTo(workloadChain(spec.name, "OUT")));
  return [{ table: "nat", chains, dispatch: [{ hook: "OUTPUT", rules: [entry] }] }];
}

function rerouteTables(spec: InterceptSpec, family: Family): TablePlan[] {
  const { reroute } = spec.interfaces;
  if (!spec.outbound || reroute.length === 0) return [];
  const name = workloadChain(spec.name, "REROUTE");
  const rules = rerouteRules(spec, family, goTo(workloadChain(spec.name, "OUT_REDIR")));
  const entries = reroute.map((from) => rule(["-i", from, "-p", "tcp"], goTo(name)));
  return [{ table: "nat", chains: [{ name, rules }], dispatch: [{ hook: "PREROUTING", rules: entries }] }];
}

/** Before everything else that looks at arriving packets, whatever their protocol. */
function invalidTables(spec: InterceptSpec): TablePlan[] {
  if (!spec.dropInvalid) return [];
  const name = workloadChain(spec.name, "INVALID");
  const rules = [...returns(spec.interfaces.exclude.map((from) => ["-i", from])), rule([], DROP)];
  const entry = rule(["-m", "conntrack", "--ctstate", "INVALID"], ["-j", name]);
  return [{ table: "mangle", chains: [{ name, rules }], dispatch: [{ hook: "PREROUTING", rules: [entry] }] }];
}

/**
 * A connection with the client's address would have the tuple that conntrack keeps for the client's own, redirected
 * one, when the kernel happens to give it the same port; so it is not tracked, in either direction. The application's
 * answers carry the mark as well (tcp_fwmark_accept).
 */
function preserveTables(spec: InterceptSpec): TablePlan[] {
  const mark = spec.inbound?.preserveMark;
  if (!mark) return [];
  const match = ["-p", "tcp", ...markMatch(mark)];
  const untracked = ["-j", "CT", "--notrack"];
  return [
    {
      table: "raw",
      chains: [],
      dispatch: [
        { hook: "OUTPUT", rules: [rule(match, untracked)] },
        { hook: "PREROUTING", rules: [rule(["-i", "lo", ...match], untracked)] },
      ],
    },
  ];
}
