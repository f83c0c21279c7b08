// SPDX-License-Identifier: Apache-2.0
/**
 * The sidecar's rules as istio/tools/istio-nftables makes them. One table serves both families: rules that test no
 * address catch IPv6 also while it is off.
 */
import { nftTableName, type SidecarChains, sidecarNftChains } from "./chain-names.ts";
import { familiesOf, type ProgramOptions } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_PORT, passthroughSource } from "./istio-constants.ts";
import { nftName, nftOwner } from "./nft-name.ts";
import { baseChains, type NftChain, type NftProgram, type NftRule, nftTable, withoutIdleJumps } from "./nft-program.ts";
import { agentZoneRules, dnsRedirectRules } from "./sidecar-dns-nftables.ts";
import { capturesLoopback, dnsCapture, includedRanges, isTproxy, loopbackOf, rangesOf } from "./sidecar-facts.ts";
import { inboundPortRules, tproxyMarkRules, tproxyTargetRules } from "./sidecar-inbound-nftables.ts";

/** The sidecar's rules as nftables. */
export function sidecarNftables(config: SidecarConfig, options: ProgramOptions = {}): NftProgram {
  const chains = sidecarNftChains(options);
  const named = (...names: readonly string[]): NftChain[] => names.map((name) => ({ name }));
  const { inbound, redirect, inRedirect, output, outputDns, divert, tproxy, drop } = chains;
  const contents = [
    { kind: "nat", own: named(inbound, redirect, inRedirect, output, outputDns), rules: natRules(config, chains) },
    { kind: "mangle", own: named(divert, tproxy, inbound, drop), rules: mangleRules(config, chains) },
    { kind: "raw", own: named(inbound, outputDns), rules: agentZoneRules(config, chains) },
  ] as const;
  const tables = contents.flatMap(({ kind, own, rules }) => {
    const name = nftTableName(options, "proxy", kind);
    return nftTable(name, [...baseChains(kind), ...own], withoutIdleJumps(rules)) ?? [];
  });
  return { tables };
}

function natRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const { output } = chains;
  const families = familiesOf(config.enableIpv6);
  const tcpPort = (port: number): string => `meta l4proto tcp tcp dport ${port}`;
  return [
    ...excludedInterfaces(config),
    ...config.rerouteVirtualInterfaces.map((nic) => ({
      chain: "prerouting",
      index: 0,
      text: `iifname ${nftName(nic)} counter return`,
    })),
    { chain: chains.inbound, text: `${tcpPort(config.inboundTunnelPort)} counter return` },
    { chain: chains.redirect, text: `meta l4proto tcp counter redirect to :${config.proxyPort}` },
    { chain: chains.inRedirect, text: `meta l4proto tcp counter redirect to :${config.inboundCapturePort}` },
    ...(isTproxy(config) ? [] : inboundPortRules(config, chains)),
    { chain: "output", text: `counter jump ${output}` },
    ...config.outboundPortsExclude.flatMap((port) => [
      { chain: output, text: `tcp dport ${port} counter return` },
      { chain: output, text: `udp dport ${port} counter return` },
    ]),
    ...families.map((family) => ({
      chain: output,
      text: `oifname lo ${ip(family)} saddr ${passthroughSource(family)} counter return`,
    })),
    ...config.proxyUids.flatMap((uid) => proxyOwner(config, chains, "skuid", uid)),
    ...config.proxyGids.flatMap((gid) => proxyOwner(config, chains, "skgid", gid)),
    ...ownerGroups(config, chains),
    ...dnsRedirectRules(config, chains),
    ...families.map((family) => ({
      chain: output,
      text: `${ip(family)} daddr ${loopbackOf(config, family)} counter return`,
    })),
    ...families.flatMap((family) =>
      rangesOf(config.outboundIpRangesExclude, family).map((range) => ({
        chain: output,
        text: `${ip(family)} daddr ${range} counter return`,
      })),
    ),
    ...config.outboundPortsInclude.map((port) => ({
      chain: output,
      text: `tcp dport ${port} counter jump ${chains.redirect}`,
    })),
    ...outboundRanges(config, chains),
  ];
}

function mangleRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const invalid = [
    // TCP only, unlike the iptables form.
    { chain: "prerouting", text: `meta l4proto tcp ct state invalid counter jump ${chains.drop}` },
    { chain: chains.drop, text: "counter drop" },
  ];
  return [
    ...(isTproxy(config) ? excludedInterfaces(config) : []),
    ...(config.dropInvalid ? invalid : []),
    ...(isTproxy(config) ? tproxyTargetRules(config, chains) : []),
    ...(isTproxy(config) ? inboundPortRules(config, chains) : []),
    ...(isTproxy(config) ? tproxyMarkRules(config, chains) : []),
  ];
}

function excludedInterfaces(config: SidecarConfig): NftRule[] {
  return config.excludeInterfaces.flatMap((nic) => [
    { chain: "prerouting", text: `iifname ${nftName(nic)} counter return` },
    { chain: "output", text: `oifname ${nftName(nic)} counter return` },
  ]);
}

/** Traffic of one id of the proxy's. Only a uid keeps DNS by TCP from the inbound port: Istio forgets it for a gid. */
function proxyOwner(config: SidecarConfig, chains: SidecarChains, key: "skuid" | "skgid", id: string): NftRule[] {
  const dns = dnsCapture(config) !== "off";
  const tunnel = config.inboundTunnelPort;
  const ports = dns && key === "skuid" ? `{ ${DNS_PORT}, ${tunnel} }` : `${tunnel}`;
  const toItself = familiesOf(config.enableIpv6).map((family) => {
    const destination = `${ip(family)} daddr != ${loopbackOf(config, family)}`;
    const matches = `oifname lo meta l4proto tcp ${destination} tcp dport != ${ports} ${key} ${nftOwner(id)}`;
    return { chain: chains.output, text: `${matches} counter jump ${chains.inRedirect}` };
  });
  const notDns = dns ? ` meta l4proto tcp tcp dport != ${DNS_PORT}` : "";
  const shortcut = { chain: chains.output, text: `oifname lo${notDns} ${key} != ${nftOwner(id)} counter return` };
  return [
    ...toItself,
    ...(capturesLoopback(config) ? [] : [shortcut]),
    { chain: chains.output, text: `${key} ${nftOwner(id)} counter return` },
  ];
}

/** With a list of groups one rule lets everybody else go; an empty list makes it a rule that lets all go. */
function ownerGroups(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  if (config.ownerGroupsInclude === "*") {
    return config.ownerGroupsExclude.map((group) => ({
      chain: chains.output,
      text: `skgid ${nftOwner(group)} counter return`,
    }));
  }
  const noneOf = config.ownerGroupsInclude.map((group) => `skgid != ${nftOwner(group)}`);
  return [{ chain: chains.output, text: [...noneOf, "counter return"].join(" ") }];
}

function outboundRanges(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const { redirect } = chains;
  const virtual = (destination: string): NftRule[] =>
    config.rerouteVirtualInterfaces.map((nic) => ({
      chain: "prerouting",
      index: 0,
      text: `iifname ${nftName(nic)}${destination} counter jump ${redirect}`,
    }));
  if (config.outboundIpRangesInclude === "*") {
    return [{ chain: chains.output, text: `counter jump ${redirect}` }, ...virtual("")];
  }
  return familiesOf(config.enableIpv6).flatMap((family) =>
    includedRanges(config, family).flatMap((range) => [
      ...virtual(` ${ip(family)} daddr ${range}`),
      { chain: chains.output, text: `${ip(family)} daddr ${range} counter jump ${redirect}` },
    ]),
  );
}

function ip(family: 4 | 6): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}
