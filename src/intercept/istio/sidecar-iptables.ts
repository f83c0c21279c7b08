// SPDX-License-Identifier: Apache-2.0
/**
 * The sidecar's rules as istio/tools/istio-iptables makes them. The order of this file is the order of the rules: a
 * packet meets exclusions before the proxy's own traffic, and that before any capture.
 */
import { type SidecarChains, sidecarChains } from "./chain-names.ts";
import {
  append,
  type IptablesFamily,
  type IptablesProgram,
  type IptablesRule,
  insert,
  type ProgramOptions,
  programOf,
} from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_PORT, passthroughSource } from "./istio-constants.ts";
import { sidecarDnsRules } from "./sidecar-dns-iptables.ts";
import { capturesLoopback, dnsCapture, includedRanges, isTproxy, loopbackOf, rangesOf } from "./sidecar-facts.ts";
import { redirectInboundRules, tproxyInboundRules, tproxyMarkRules } from "./sidecar-inbound-iptables.ts";

/** The sidecar's rules, REDIRECT or TPROXY inbound. */
export function sidecarIptables(config: SidecarConfig, options: ProgramOptions = {}): IptablesProgram {
  const chains = sidecarChains(options);
  return programOf(config.enableIpv6, (family) => familyRules(config, chains, family));
}

function familyRules(config: SidecarConfig, chains: SidecarChains, family: IptablesFamily): IptablesRule[] {
  const inbound = isTproxy(config) ? tproxyInboundRules : redirectInboundRules;
  return [
    ...excludedInterfaces(config),
    ...config.rerouteVirtualInterfaces.map((nic) => insert("nat", "PREROUTING", 1, `-i ${nic} -j RETURN`)),
    ...(config.dropInvalid ? dropInvalid(chains) : []),
    // Made also where nothing leads to them: Istio's own checks count on these chains.
    append("nat", chains.inbound, `-p tcp --dport ${config.inboundTunnelPort} -j RETURN`),
    append("nat", chains.redirect, `-p tcp -j REDIRECT --to-ports ${config.proxyPort}`),
    append("nat", chains.inRedirect, `-p tcp -j REDIRECT --to-ports ${config.inboundCapturePort}`),
    ...inbound(config, chains, family),
    append("nat", "OUTPUT", `-j ${chains.output}`),
    ...config.outboundPortsExclude.flatMap((port) => [
      append("nat", chains.output, `-p tcp --dport ${port} -j RETURN`),
      append("nat", chains.output, `-p udp --dport ${port} -j RETURN`),
    ]),
    append("nat", chains.output, `-o lo -s ${passthroughSource(family)} -j RETURN`),
    ...config.proxyUids.flatMap((uid) => proxyOwner(config, chains, family, "uid", uid)),
    ...config.proxyGids.flatMap((gid) => proxyOwner(config, chains, family, "gid", gid)),
    ...ownerGroups(config, chains),
    ...sidecarDnsRules(config, chains, family),
    append("nat", chains.output, `-d ${loopbackOf(config, family)} -j RETURN`),
    ...rangesOf(config.outboundIpRangesExclude, family).map((range) =>
      append("nat", chains.output, `-d ${range} -j RETURN`),
    ),
    ...config.outboundPortsInclude.map((port) =>
      append("nat", chains.output, `-p tcp --dport ${port} -j ${chains.redirect}`),
    ),
    ...outboundRanges(config, chains, family),
    ...(isTproxy(config) ? tproxyMarkRules(config, chains, family) : []),
  ];
}

function excludedInterfaces(config: SidecarConfig): IptablesRule[] {
  const leaveAlone = (table: "nat" | "mangle"): IptablesRule[] =>
    config.excludeInterfaces.flatMap((nic) => [
      append(table, "PREROUTING", `-i ${nic} -j RETURN`),
      append(table, "OUTPUT", `-o ${nic} -j RETURN`),
    ]);
  return [...leaveAlone("nat"), ...(isTproxy(config) ? leaveAlone("mangle") : [])];
}

function dropInvalid(chains: SidecarChains): IptablesRule[] {
  return [
    append("mangle", "PREROUTING", `-m conntrack --ctstate INVALID -j ${chains.drop}`),
    append("mangle", chains.drop, "-j DROP"),
  ];
}

/** Traffic of one id of the proxy's. Only a uid keeps DNS by TCP from the inbound port: Istio forgets it for a gid. */
function proxyOwner(
  config: SidecarConfig,
  chains: SidecarChains,
  family: IptablesFamily,
  kind: "uid" | "gid",
  id: string,
): IptablesRule[] {
  const dns = dnsCapture(config) !== "off";
  const owner = `-m owner --${kind}-owner ${id}`;
  const ports =
    dns && kind === "uid"
      ? `-m multiport ! --dports ${DNS_PORT},${config.inboundTunnelPort}`
      : `! --dport ${config.inboundTunnelPort}`;
  const notDns = dns ? ` -p tcp ! --dport ${DNS_PORT}` : "";
  const toItself = `-o lo ! -d ${loopbackOf(config, family)} -p tcp ${ports} ${owner} -j ${chains.inRedirect}`;
  const shortcut = `-o lo${notDns} -m owner ! --${kind}-owner ${id} -j RETURN`;
  return [
    append("nat", chains.output, toItself),
    ...(capturesLoopback(config) ? [] : [append("nat", chains.output, shortcut)]),
    append("nat", chains.output, `${owner} -j RETURN`),
  ];
}

/** With a list of groups one rule lets everybody else go; an empty list makes it a rule that lets all go. */
function ownerGroups(config: SidecarConfig, chains: SidecarChains): IptablesRule[] {
  if (config.ownerGroupsInclude === "*") {
    return config.ownerGroupsExclude.map((group) =>
      append("nat", chains.output, `-m owner --gid-owner ${group} -j RETURN`),
    );
  }
  const noneOf = config.ownerGroupsInclude.map((group) => `-m owner ! --gid-owner ${group}`);
  return [append("nat", chains.output, [...noneOf, "-j RETURN"].join(" "))];
}

/** What comes in by a virtual interface goes the same way; every insertion at 1 turns their order round. */
function outboundRanges(config: SidecarConfig, chains: SidecarChains, family: IptablesFamily): IptablesRule[] {
  const virtual = (destination: string): IptablesRule[] =>
    config.rerouteVirtualInterfaces.map((nic) =>
      insert("nat", "PREROUTING", 1, `-i ${nic}${destination} -j ${chains.redirect}`),
    );
  if (config.outboundIpRangesInclude === "*") {
    return [append("nat", chains.output, `-j ${chains.redirect}`), ...virtual("")];
  }
  return includedRanges(config, family).flatMap((range) => [
    ...virtual(` -d ${range}`),
    append("nat", chains.output, `-d ${range} -j ${chains.redirect}`),
  ]);
}
