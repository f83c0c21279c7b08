// SPDX-License-Identifier: Apache-2.0
/** DNS capture of the sidecar in nftables; see the iptables form for the conntrack zones. */
import type { SidecarChains } from "./chain-names.ts";
import { familiesOf } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_CAPTURE_PORT, DNS_PORT } from "./istio-constants.ts";
import { nftOwner } from "./nft-name.ts";
import { type NftRule } from "./nft-program.ts";
import { dnsCapture, dnsServerRanges } from "./sidecar-facts.ts";

/** In nat: what leads to the agent. */
export function dnsRedirectRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const capture = dnsCapture(config);
  if (capture === "off") return [];
  const redirect = (matches: string): NftRule => ({
    chain: chains.outputDns,
    text: `${matches} counter redirect to :${DNS_CAPTURE_PORT}`,
  });
  const destinations = resolvers(config, "daddr");
  return [
    { chain: chains.output, text: `counter jump ${chains.outputDns}` },
    ...(capture === "all"
      ? [redirect(`meta l4proto tcp tcp dport ${DNS_PORT}`), redirect(`udp dport ${DNS_PORT}`)]
      : [
          ...destinations.map((to) => redirect(`${to} tcp dport ${DNS_PORT}`)),
          ...destinations.map((to) => redirect(`${to} udp dport ${DNS_PORT}`)),
        ]),
  ];
}

/** In raw: the zones. */
export function agentZoneRules(config: SidecarConfig, chains: SidecarChains): NftRule[] {
  const capture = dnsCapture(config);
  if (capture === "off") return [];
  const zone = (chain: string, matches: string, number: 1 | 2): NftRule => ({
    chain,
    text: `${matches} counter ct zone set ${number}`,
  });
  const owners = [
    ...config.proxyUids.map((uid) => `meta skuid ${nftOwner(uid)}`),
    ...config.proxyGids.map((gid) => `meta skgid ${nftOwner(gid)}`),
  ];
  const spaced = (text: string): string => ` ${text}`;
  const asked = capture === "all" ? [""] : resolvers(config, "daddr").map(spaced);
  const answered = capture === "all" ? [""] : resolvers(config, "saddr").map(spaced);
  return [
    { chain: "output", text: `counter jump ${chains.outputDns}` },
    ...owners.flatMap((owner) => [
      zone(chains.outputDns, `udp dport ${DNS_PORT} ${owner}`, 1),
      zone(chains.outputDns, `udp sport ${DNS_CAPTURE_PORT} ${owner}`, 2),
    ]),
    { chain: "prerouting", text: `counter jump ${chains.inbound}` },
    ...asked.flatMap((to, i) => [
      zone(chains.outputDns, `udp dport ${DNS_PORT}${to}`, 2),
      zone(chains.inbound, `udp sport ${DNS_PORT}${answered[i]}`, 1),
    ]),
  ];
}

/** "ip daddr 10.0.0.10/32" for each listed server of the families in use. */
function resolvers(config: SidecarConfig, side: "daddr" | "saddr"): string[] {
  return familiesOf(config.enableIpv6).flatMap((family) =>
    dnsServerRanges(config, family).map((range) => `${family === 4 ? "ip" : "ip6"} ${side} ${range}`),
  );
}
