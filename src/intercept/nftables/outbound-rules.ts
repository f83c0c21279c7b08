// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "../spec.ts";
import type { Chain, Dispatch, Part } from "./chain.ts";
import { type Rank, workloadPrefix } from "./naming.ts";
import { activeDns, outboundRanges, policy } from "./outbound-policy.ts";
import {
  addressField,
  type Count,
  type CountedReason,
  excludedInterfaces,
  FAMILIES,
  familyOff,
  LOCALHOST,
  NOT_BEGINNING,
  PASSTHROUGH,
  ports,
  type Rule,
  rule,
  TCP,
} from "./rule.ts";
import { entersItself, selfRanges } from "./self-entry.ts";

/**
 * Everything for what leaves the workload's sockets, in the order of decision.ts: the proxy's own traffic, its listeners,
 * the pass-through source, the policy. `own`: phrases for the proxy's traffic.
 */
export function outboundPart(spec: InterceptSpec, own: readonly string[], scope: Scope): Part {
  const { outbound, inbound, interfaces: nics } = spec;
  const entersPod = inbound !== undefined && spec.proxy.external;
  if (!outbound && !entersPod) return { chains: [], sets: [], dispatch: [] };
  const prefix = workloadPrefix(spec.name);
  const dns = outbound && activeDns(outbound);
  const ownChain: Chain = {
    name: `${prefix}own`,
    rules: [...(entersPod ? entersItself(spec) : []), rule([], "return", out("own-traffic"))],
  };
  const redirect: Chain[] = outbound
    ? [{ name: `${prefix}out-redirect`, rules: [rule([TCP], `redirect to :${outbound.port}`)] }]
    : [];
  const main: Chain = {
    name: `${prefix}out`,
    rules: [
      ...(dns
        ? [rule(["meta l4proto != { tcp, udp }"], "return"), rule(["udp dport != 53"], "return")]
        : [rule(["meta l4proto != tcp"], "return")]),
      rule([NOT_BEGINNING], "return"),
      ...own.map((phrase) => rule([phrase], `goto ${ownChain.name}`)),
      ...ownListeners(spec),
      ...FAMILIES.map((family) =>
        rule([`${addressField(family, "saddr")} ${PASSTHROUGH[family]}`], "return", out("passthrough-source")),
      ),
      ...(outbound
        ? [
            ...familyOff(spec.ipv6, "outbound"),
            ...excludedInterfaces("oifname", nics.exclude, "outbound"),
            ...policy(spec, outbound, { dns, local: true }),
          ]
        : []),
    ],
  };
  return {
    chains: [...redirect, ...(own.length > 0 ? [ownChain] : []), main],
    sets: [...(outbound ? outboundRanges(spec.name, outbound) : []), ...(entersPod ? selfRanges(spec) : [])].flatMap(
      ({ set }) => (set ? [set] : []),
    ),
    dispatch: [dispatchTo(main.name, scope)],
  };
}

/** Whose packets come to a chain; without a phrase, all of them. */
export interface Scope {
  readonly rank: Rank;
  readonly phrase?: string;
}

function dispatchTo(chain: string, { rank, phrase }: Scope): Dispatch {
  return { base: "nat-output", rank, rule: rule(phrase === undefined ? [] : [phrase], `goto ${chain}`) };
}

/** The outbound listeners of the proxy are never led to one another. */
function ownListeners({ outbound, inbound }: InterceptSpec): Rule[] {
  const own = [outbound?.port, inbound?.port].filter((port) => port !== undefined);
  return FAMILIES.map((family) =>
    rule([`${addressField(family, "daddr")} ${LOCALHOST[family]}`, ports("tcp", own)], "return", out("own-listener")),
  );
}

function out(reason: CountedReason): Count {
  return { direction: "outbound", reason };
}
