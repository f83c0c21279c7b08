// SPDX-License-Identifier: Apache-2.0

import { matchesInterface } from "../interface-name.ts";
import { ownPorts } from "../own-ports.ts";
import type { InterceptSpec, SelfEntry, SelfEntryOwners } from "../spec.ts";
import { type AddressMatch, matchRanges } from "./address-set.ts";
import { inboundPolicy } from "./inbound-policy.ts";
import { workloadPrefix } from "./naming.ts";
import {
  addressField,
  anyOf,
  type Count,
  FAMILIES,
  LINK_LOCAL,
  LOOPBACK,
  markMatch,
  PASSTHROUGH,
  ports,
  type Rule,
  rule,
} from "./rule.ts";

const OWN: Count = { direction: "outbound", reason: "own-traffic" };

/**
 * A proxy that is not ours and calls its own pod comes in by the inbound listener, as with istio-iptables. For the chain
 * of the proxy's own traffic.
 */
export function entersItself(spec: InterceptSpec): Rule[] {
  const { inbound, proxy } = spec;
  if (!inbound) return [];
  return [
    rule(["meta l4proto != tcp"], "return"),
    rule(['oifname != "lo"'], "return", OWN),
    ...(spec.interfaces.exclude.some((pattern) => matchesInterface(pattern, "lo")) ? [rule([], "return", OWN)] : []),
    ...FAMILIES.map((family) => rule([`${addressField(family, "saddr")} ${PASSTHROUGH[family]}`], "return", OWN)),
    rule([`ip6 daddr ${LINK_LOCAL}`], "return", OWN),
    ...(spec.ipv6 === false ? [rule(["meta nfproto ipv6"], "return", OWN)] : []),
    // The client of the inbound policy is the pod itself.
    ...(proxy.selfEntry
      ? bySelfEntry(spec, proxy.selfEntry)
      : [
          ...FAMILIES.map((family) => rule([`${addressField(family, "daddr")} ${LOOPBACK[family]}`], "return", OWN)),
          rule([ports("tcp", ownPorts(spec))], "return", OWN),
          ...inboundPolicy(spec, inbound, "daddr"),
        ]),
  ];
}

/** Own addresses where nothing enters. */
export function selfRanges({ name, proxy }: InterceptSpec): AddressMatch[] {
  const cidrs = proxy.selfEntry?.excludeCidrs ?? [];
  return FAMILIES.map((family) => matchRanges(`${workloadPrefix(name)}self-exclude`, family, cidrs)).filter(
    (ranges) => ranges !== undefined,
  );
}

function bySelfEntry(spec: InterceptSpec, self: SelfEntry): Rule[] {
  const { inbound, proxy } = spec;
  // Of a user of the proxy, its group is not asked.
  const others = proxy.uids.length > 0 ? [`meta skuid != ${anyOf(proxy.uids)}`] : [];
  const preserve = inbound?.preserveMark;
  return [
    ...selfRanges(spec).map(({ phrase }) => rule([phrase("daddr")], "return", OWN)),
    ...byOwners(spec, "meta skuid", self.uids, []),
    ...byOwners(spec, "meta skgid", self.gids, others),
    ...(preserve ? [rule([markMatch(preserve)], "return", OWN)] : []),
    ...(self.transparent && inbound ? inboundPolicy(spec, inbound, "daddr") : []),
  ];
}

function byOwners(spec: InterceptSpec, key: string, owners: SelfEntryOwners, more: readonly string[]): Rule[] {
  const { kind, ports: listed } = owners.ports;
  if (owners.ids.length === 0 || (kind === "only" && listed.length === 0)) return [];
  const atPorts = listed.length === 0 ? [] : [ports("tcp", listed, kind === "only" ? "" : "!=")];
  const match = [...more, `${key} ${anyOf(owners.ids)}`, ...atPorts];
  const redirect = `goto ${workloadPrefix(spec.name)}in-redirect`;
  return [rule(match, redirect, { direction: "inbound", reason: "proxy-to-self" })];
}
