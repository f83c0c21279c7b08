// SPDX-License-Identifier: Apache-2.0
/** Inbound capture of the sidecar in nftables: by redirect in nat, or by tproxy in mangle. */
import type { SidecarChains } from "./chain-names.ts";
import { familiesOf } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { passthroughSource, SIDECAR_OUTBOUND_MARK } from "./istio-constants.ts";
import { nftOwner } from "./nft-name.ts";
import { type NftRule } from "./nft-program.ts";
import { capturesInbound, isTproxy, loopbackOf } from "./sidecar-facts.ts";

/** Exclusions count only while every port is captured. */
export function inboundPortRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  if (!capturesInbound(config)) return [];
  const tcp = "meta l4proto tcp";
  const capture = (port: string): string[] =>
    isTproxy(config)
      ? [
          `${tcp} ct state related,established${port} counter jump ${chains.divert}`,
          `${tcp}${port} counter jump ${chains.tproxy}`,
        ]
      : [`${tcp}${port} counter jump ${chains.inRedirect}`];
  const included =
    config.inboundPortsInclude === "*"
      ? [...config.inboundPortsExclude.map((port) => `${tcp} tcp dport ${port} counter return`), ...capture("")]
      : config.inboundPortsInclude.flatMap((port) => capture(` tcp dport ${port}`));
  return [
    { chain: "prerouting", text: `${tcp} counter jump ${chains.inbound}` },
    ...included.map((text) => ({ chain: chains.inbound, text })),
  ];
}

export function tproxyTargetRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  if (!capturesInbound(config)) return [];
  const mark = config.inboundTproxyMark;
  return [
    { chain: chains.divert, text: `counter meta mark set ${mark}` },
    { chain: chains.divert, text: "counter accept" },
    ...familiesOf(config.enableIpv6).map((family) => {
      const ip = family === 4 ? "ip" : "ip6";
      const matches = `meta l4proto tcp ${ip} daddr != ${loopbackOf(config, family)}`;
      const target = `tproxy ${ip} to :${config.inboundCapturePort} meta mark set ${mark} counter accept`;
      return { chain: chains.tproxy, text: `${matches} ${target}` };
    }),
  ];
}

/** As in the iptables form; the insertions count from 0, and the two of one index end up the last of them first. */
export function tproxyMarkRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const mark = config.inboundTproxyMark;
  const families = familiesOf(config.enableIpv6);
  const owners = [
    ...config.proxyUids.map((uid) => `skuid ${nftOwner(uid)}`),
    ...config.proxyGids.map((gid) => `skgid ${nftOwner(gid)}`),
  ];
  const toItself = (owner: string, family: 4 | 6): string => {
    const destination = `${family === 4 ? "ip" : "ip6"} daddr != ${loopbackOf(config, family)}`;
    return `oifname lo meta l4proto tcp ${destination} ${owner} counter meta mark set ${SIDECAR_OUTBOUND_MARK}`;
  };
  return [
    { chain: "prerouting", text: `meta l4proto tcp mark ${mark} counter ct mark set mark` },
    { chain: "output", text: `oifname lo meta l4proto tcp mark ${mark} counter return` },
    ...owners.flatMap((owner) => families.map((family) => ({ chain: "output", text: toItself(owner, family) }))),
    { chain: "output", text: `meta l4proto tcp ct mark ${mark} counter meta mark set ct mark` },
    { chain: chains.inbound, index: 0, text: `meta l4proto tcp mark ${mark} counter return` },
    ...families.map((family) => {
      const source = `${family === 4 ? "ip" : "ip6"} saddr ${passthroughSource(family)}`;
      return { chain: chains.inbound, index: 1, text: `iifname lo meta l4proto tcp ${source} counter return` };
    }),
    {
      chain: chains.inbound,
      index: 2,
      text: `iifname lo meta l4proto tcp mark != ${SIDECAR_OUTBOUND_MARK} counter return`,
    },
  ];
}
