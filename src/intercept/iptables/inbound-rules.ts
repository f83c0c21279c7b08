// SPDX-License-Identifier: Apache-2.0
import { ownPorts } from "../own-ports.ts";
import type { InterceptSpec } from "../spec.ts";
import type { TablePlan } from "./chain-plan.ts";
import { workloadChain } from "./naming.ts";
import { redirectTo } from "./outbound-rules.ts";
import {
  cidrsOf,
  type Family,
  goTo,
  jump,
  loopbackRange,
  passthroughSource,
  portMatches,
  RETURN,
  type Rule,
  returns,
  rule,
} from "./rule.ts";

/** How connections from outside come to the proxy: the part of a plan in which REDIRECT and TPROXY differ. */
export interface InboundHalf {
  readonly tables: readonly TablePlan[];
  /** For nat's OUT chain: what an external proxy says to its own workload. */
  readonly toSelf: readonly Rule[];
  /** Matches of what has come to the proxy although it still carries its first destination. */
  readonly arrived: readonly (readonly string[])[];
}

/** `own` are the matches of the proxy's traffic. */
export type PlanInbound = (spec: InterceptSpec, family: Family, own: readonly (readonly string[])[]) => InboundHalf;

/** Connections that reach the workload, in the order of istio-iptables' ISTIO_INBOUND. */
export const redirectInbound: PlanInbound = (spec, family, own) => {
  if (!spec.inbound) return { tables: [], toSelf: [], arrived: [] };
  const redirect = workloadChain(spec.name, "IN_REDIR");
  const chain = workloadChain(spec.name, "IN");
  const rules = [
    ...leftAlone(spec),
    // What a pod that routes for others only passes on: it is for somebody else.
    rule(["-m", "addrtype", "!", "--dst-type", "LOCAL"], RETURN),
    // What the workload sends to itself has been decided in OUTPUT; conntrack keeps that decision, but only for
    // packets it knows, so it is said here too.
    rule(["-i", "lo"], RETURN),
    ...inboundPolicy(spec, family, goTo(redirect)),
  ];
  const toSelf = spec.proxy.external ? own.map((who) => rule([...toSelfMatch(family), ...who], jump(chain))) : [];
  return {
    tables: [
      {
        table: "nat",
        chains: [
          { name: redirect, rules: [redirectTo(spec.inbound.port)] },
          { name: chain, rules },
        ],
        dispatch: [{ hook: "PREROUTING", rules: [rule(["-p", "tcp"], goTo(chain))] }],
      },
    ],
    toSelf,
    arrived: [],
  };
};

/** What comes by interfaces that are not a matter of inbound. */
export function leftAlone({ interfaces }: InterceptSpec): Rule[] {
  return returns([...interfaces.exclude, ...interfaces.reroute].map((name) => ["-i", name]));
}

/** What is captured by ports and clients goes to `captured`. */
export function inboundPolicy(spec: InterceptSpec, family: Family, captured: readonly string[]): Rule[] {
  const { inbound } = spec;
  if (!inbound) return [];
  const ports = inbound.includePorts === "all" ? [["-p", "tcp"]] : portMatches("tcp", inbound.includePorts);
  const clients =
    inbound.includeCidrs === "all" ? [[]] : cidrsOf(family, inbound.includeCidrs).map((cidr) => ["-s", cidr]);
  return [
    rule(["-s", passthroughSource(family)], RETURN),
    ...returns(portMatches("tcp", ownPorts(spec))),
    ...returns(portMatches("tcp", inbound.excludePorts)),
    ...returns(cidrsOf(family, inbound.excludeCidrs).map((cidr) => ["-s", cidr])),
    ...clients.flatMap((client) => ports.map((match) => rule([...client, ...match], captured))),
  ];
}

/**
 * An unmodified sidecar that calls its own pod enters through the inbound port. Our own proxy (recognised by
 * mark) never does: it knows that the destination is local and takes the inbound path itself. As in decision.ts, all of
 * loopback is the proxy's own business.
 */
export function toSelfMatch(family: Family): string[] {
  return ["!", "-d", loopbackRange(family), "-o", "lo", "-p", "tcp"];
}
