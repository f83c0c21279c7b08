// SPDX-License-Identifier: Apache-2.0
/**
 * DNS capture of the sidecar. Queries of the application and of the agent go to the same resolver from the same
 * address, so they live in two conntrack zones: 1 between agent and resolver, 2 between application and agent.
 */
import type { SidecarChains } from "./chain-names.ts";
import { append, type IptablesFamily, type IptablesRule } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_CAPTURE_PORT, DNS_PORT } from "./istio-constants.ts";
import { dnsCapture, dnsServerRanges } from "./sidecar-facts.ts";

export function sidecarDnsRules(config: SidecarConfig, chains: SidecarChains, family: IptablesFamily): IptablesRule[] {
  const capture = dnsCapture(config);
  if (capture === "off") return [];
  const servers = dnsServerRanges(config, family);
  /** One rule for all resolvers, or one for each of this family. */
  const resolvers = (flag: "-d" | "-s"): string[] => (capture === "all" ? [""] : servers.map((s) => ` ${flag} ${s}`));
  const captured = resolvers("-d");
  const answered = resolvers("-s");
  // A family without a resolver has the zones of the agent, and no jumps to chains that would stay empty.
  const any = captured.length > 0;
  return [
    append("raw", "OUTPUT", `-j ${chains.outputDns}`),
    ...(any ? [append("nat", chains.output, `-j ${chains.outputDns}`)] : []),
    // Istio spells the option in two ways; iptables takes both.
    ...captured.map((to) => redirect(chains, `-p tcp --dport ${DNS_PORT}${to} -j REDIRECT --to-ports`)),
    ...captured.map((to) => redirect(chains, `-p udp --dport ${DNS_PORT}${to} -j REDIRECT --to-port`)),
    ...agentZones(config, chains),
    ...(any ? [append("raw", "PREROUTING", `-j ${chains.inbound}`)] : []),
    ...captured.flatMap((to, i) => [
      append("raw", chains.outputDns, `-p udp --dport ${DNS_PORT}${to} -j CT --zone 2`),
      append("raw", chains.inbound, `-p udp --sport ${DNS_PORT}${answered[i]} -j CT --zone 1`),
    ]),
  ];
}

function redirect(chains: SidecarChains, text: string): IptablesRule {
  return append("nat", chains.outputDns, `${text} ${DNS_CAPTURE_PORT}`);
}

function agentZones(config: SidecarConfig, chains: SidecarChains): IptablesRule[] {
  const owners = [
    ...config.proxyUids.map((uid) => `-m owner --uid-owner ${uid}`),
    ...config.proxyGids.map((gid) => `-m owner --gid-owner ${gid}`),
  ];
  return owners.flatMap((owner) => [
    append("raw", chains.outputDns, `-p udp --dport ${DNS_PORT} ${owner} -j CT --zone 1`),
    append("raw", chains.outputDns, `-p udp --sport ${DNS_CAPTURE_PORT} ${owner} -j CT --zone 2`),
  ]);
}
