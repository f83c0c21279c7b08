// SPDX-License-Identifier: Apache-2.0
import { dnsPorts } from "../dns-ports.ts";
import type { InterceptSpec } from "../spec.ts";
import type { Chain, Dispatch, Part } from "./chain.ts";
import { workloadPrefix } from "./naming.ts";
import { activeDns, ownerGroups, resolverPhrases } from "./outbound-policy.ts";
import type { Scope } from "./outbound-rules.ts";
import {
  addressField,
  anyOf,
  excludedInterfaces,
  FAMILIES,
  familyOff,
  LOCALHOST,
  markMatch,
  PASSTHROUGH,
  type Rule,
  rule,
  TCP,
} from "./rule.ts";

const NOTHING: Part = { chains: [], sets: [], dispatch: [] };

/**
 * A captured query and its answer get a conntrack zone of their own. Without it the forwarder's query to the same
 * resolver, from a source port that the workload used a moment ago, meets the workload's entry and is led back to the
 * forwarder. The DNS port is unique in the namespace, which makes it a zone number no other workload has.
 */
export function dnsZonePart(spec: InterceptSpec, own: readonly string[], scope: Scope): Part {
  const { outbound } = spec;
  const dns = outbound && activeDns(outbound);
  if (!dns) return NOTHING;
  const zone = `ct zone set ${dns.port}`;
  const queries: Chain = {
    name: `${workloadPrefix(spec.name)}zone`,
    // Exactly those queries that are led away: any other whose answer comes back in another zone is a stranger to NAT.
    rules: uncounted([
      ...familyOff(spec.ipv6, "outbound"),
      ...excludedInterfaces("oifname", spec.interfaces.exclude, "outbound"),
      ...own.map((phrase) => rule([phrase], "return")),
      ...FAMILIES.map((family) => rule([`${addressField(family, "saddr")} ${PASSTHROUGH[family]}`], "return")),
      ...ownerGroups(outbound),
      ...resolverPhrases(dns, "tcp").map(({ phrases }) => rule(["udp dport 53", ...phrases], zone)),
    ]),
  };
  // Not bound to the workload's scope: the answers are sent by our forwarder.
  const answers = FAMILIES.map(
    (family): Dispatch => ({
      base: "raw-output",
      rank: { kind: "first" },
      rule: rule(
        [
          `${addressField(family, "saddr")} ${LOCALHOST[family]}`,
          `udp sport ${anyOf([...dnsPorts(dns)].sort((a, b) => a - b))}`,
        ],
        zone,
      ),
    }),
  );
  const { rank, phrase } = scope;
  const match = ["udp dport 53", ...(phrase === undefined ? [] : [phrase])];
  return {
    chains: [queries],
    sets: [],
    dispatch: [...answers, { base: "raw-output", rank, rule: rule(match, `goto ${queries.name}`) }],
  };
}

/**
 * A connection with the client's address would have the tuple that conntrack keeps for the client's own, redirected
 * one, when the kernel happens to give it the same port; so it is not tracked, in either direction. The application's
 * answers carry the mark as well (tcp_fwmark_accept).
 */
export function preserveSourcePart(spec: InterceptSpec): Part {
  const mark = spec.inbound?.preserveMark;
  if (!mark) return NOTHING;
  const match = [TCP, markMatch(mark)];
  return {
    chains: [],
    sets: [],
    dispatch: [
      { base: "raw-output", rank: { kind: "first" }, rule: rule(match, "notrack") },
      { base: "raw-prerouting", rank: { kind: "first" }, rule: rule(['iifname "lo"', ...match], "notrack") },
    ],
  };
}

/** Of all protocols only TCP answers with a reset what it knows nothing of. */
export function dropInvalidPart(spec: InterceptSpec): Part {
  if (!spec.dropInvalid) return NOTHING;
  const chain: Chain = {
    name: `${workloadPrefix(spec.name)}invalid`,
    rules: [
      ...uncounted(excludedInterfaces("iifname", spec.interfaces.exclude, "inbound")),
      rule([TCP, "ct state invalid"], "drop", { direction: "inbound", reason: "invalid" }),
    ],
  };
  const dispatch: Dispatch = {
    base: "filter-prerouting",
    rank: { kind: "netns" },
    rule: rule([], `jump ${chain.name}`),
  };
  return { chains: [chain], sets: [], dispatch: [dispatch] };
}

/** The same packets are counted where they are decided about. */
function uncounted(rules: readonly Rule[]): Rule[] {
  return rules.map(({ match, statement }) => ({ match, statement }));
}
