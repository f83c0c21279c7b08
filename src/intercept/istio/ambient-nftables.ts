// SPDX-License-Identifier: Apache-2.0
/** Rules of ambient mode as istio/cni/pkg/nftables makes them. */
import { type AmbientChains, ambientNftChains, nftTableName } from "./chain-names.ts";
import { familiesOf, type ProgramOptions } from "./iptables-program.ts";
import { type AmbientHostConfig, type AmbientPodConfig, capturesPodDns } from "./istio-config.ts";
import { IstioConfigError } from "./istio-config-error.ts";
import {
  DNS_CAPTURE_PORT,
  DNS_PORT,
  hex,
  LOOPBACK_V4,
  LOOPBACK_V6,
  PROBE_SET,
  ZTUNNEL_CONNMARK,
  ZTUNNEL_INBOUND_PORT,
  ZTUNNEL_MARK,
  ZTUNNEL_MASK,
  ZTUNNEL_OUTBOUND_PORT,
  ZTUNNEL_PLAINTEXT_PORT,
} from "./istio-constants.ts";
import { nftName } from "./nft-name.ts";
import { baseChains, type NftProgram, type NftRule, nftTable, postroutingChain } from "./nft-program.ts";

type PodChains = Omit<AmbientChains, "postrouting">;

const MASK = hex(ZTUNNEL_MASK);
const NOT_FROM_ZTUNNEL = `mark and ${MASK} != ${hex(ZTUNNEL_MARK)}`;

/** Rules of one pod's namespace. */
export function ambientPodNftables(config: AmbientPodConfig, options: ProgramOptions = {}): NftProgram {
  const chains = ambientNftChains(options);
  const own = [{ name: chains.prerouting }, { name: chains.output }];
  const contents = [
    { kind: "nat", rules: natRules(config, chains) },
    { kind: "mangle", rules: mangleRules(config, chains) },
    { kind: "raw", rules: capturesPodDns(config) ? rawRules(config, chains) : [] },
  ] as const;
  const tables = contents.flatMap(({ kind, rules }) => {
    return nftTable(nftTableName(options, "ambient", kind), [...baseChains(kind), ...own], rules) ?? [];
  });
  return { tables };
}

function natRules(config: AmbientPodConfig, chains: PodChains): NftRule[] {
  const prerouting = (text: string): NftRule => ({ chain: chains.prerouting, text });
  const output = (text: string): NftRule => ({ chain: chains.output, text });
  const families = familiesOf(config.enableIpv6).map((family) => ({
    probe: family === 4 ? config.hostProbeSnatAddress : config.hostProbeV6SnatAddress,
    ip: family === 4 ? "ip" : "ip6",
    notLoopback: family === 4 ? `ip daddr != ${LOOPBACK_V4}` : `ip6 daddr != ${LOOPBACK_V6}`,
    // Istio's IPv4 rule has two spaces here, and its tests compare text.
    notMarked: family === 4 ? `mark and ${MASK}  != ${hex(ZTUNNEL_MARK)}` : NOT_FROM_ZTUNNEL,
  }));
  const tunnel = `tcp dport != ${ZTUNNEL_INBOUND_PORT}`;
  const inbound = families.map(({ notLoopback, notMarked }) =>
    prerouting(`${notLoopback} ${tunnel} ${notMarked} counter redirect to :${ZTUNNEL_PLAINTEXT_PORT}`),
  );
  const dns = [
    output(`oifname != lo ${NOT_FROM_ZTUNNEL} udp dport ${DNS_PORT} counter redirect to :${DNS_CAPTURE_PORT}`),
    ...families.map(({ notLoopback }) =>
      output(`${notLoopback} tcp dport ${DNS_PORT} ${NOT_FROM_ZTUNNEL} counter redirect to :${DNS_CAPTURE_PORT}`),
    ),
  ];
  return [
    { chain: "output", text: `jump ${chains.output}` },
    { chain: "prerouting", text: `jump ${chains.prerouting}` },
    ...config.virtualInterfaces
      .map(nftName)
      .flatMap((nic) => [
        prerouting(`iifname ${nic} meta l4proto tcp counter redirect to :${ZTUNNEL_OUTBOUND_PORT}`),
        prerouting(`iifname ${nic} meta l4proto tcp counter return`),
      ]),
    ...excludedInterfaces(config, chains),
    ...(config.ingressMode
      ? []
      : families.map(({ ip, probe }) => prerouting(`meta l4proto tcp ${ip} saddr ${probe} counter accept`))),
    ...families.map(({ ip, probe }) => output(`meta l4proto tcp ${ip} daddr ${probe} counter accept`)),
    ...(config.ingressMode ? [] : inbound),
    ...(capturesPodDns(config) ? dns : []),
    output(`meta l4proto tcp mark and ${MASK} == ${hex(ZTUNNEL_CONNMARK)} counter accept`),
    ...families.map(({ notLoopback }) => output(`oifname lo ${notLoopback} counter accept`)),
    ...families.map(({ notLoopback }) =>
      output(`meta l4proto tcp ${notLoopback} ${NOT_FROM_ZTUNNEL} counter redirect to :${ZTUNNEL_OUTBOUND_PORT}`),
    ),
  ];
}

function mangleRules(config: AmbientPodConfig, chains: PodChains): NftRule[] {
  const connmark = hex(ZTUNNEL_CONNMARK);
  // ~0xfff; the second space before the connmark is Istio's.
  const setConnmark = `ct mark set ct mark & 0xfffff000 |  ${connmark}`;
  return [
    { chain: "prerouting", text: `jump ${chains.prerouting}` },
    { chain: "output", text: `jump ${chains.output}` },
    ...excludedInterfaces(config, chains),
    { chain: chains.prerouting, text: `meta mark & ${MASK} == ${hex(ZTUNNEL_MARK)} counter ${setConnmark}` },
    { chain: chains.output, text: `ct mark and ${MASK} == ${connmark} counter meta mark set ct mark` },
  ];
}

function rawRules(config: AmbientPodConfig, chains: PodChains): NftRule[] {
  const mark = hex(ZTUNNEL_MARK);
  return [
    { chain: "prerouting", text: `jump ${chains.prerouting}` },
    { chain: "output", text: `jump ${chains.output}` },
    ...excludedInterfaces(config, chains),
    { chain: chains.output, text: `udp dport ${DNS_PORT} meta mark and ${MASK} == ${mark} counter ct zone set 1` },
    { chain: chains.prerouting, text: `udp sport ${DNS_PORT} meta mark and ${MASK} != ${mark} counter ct zone set 1` },
  ];
}

function excludedInterfaces(config: AmbientPodConfig, chains: PodChains): NftRule[] {
  return (config.excludeInterfaces ?? []).map(nftName).flatMap((nic) => [
    { chain: chains.prerouting, text: `iifname ${nic} counter return` },
    { chain: chains.output, text: `oifname ${nic} counter return` },
  ]);
}

/**
 * Rules of the host's own namespace. nftables cannot ask for a socket in postrouting, so the kubelet is known by its
 * user; throws an IstioConfigError without one. The sets of pod addresses are the node agent's.
 */
export function ambientHostNftables(config: AmbientHostConfig, options: ProgramOptions = {}): NftProgram {
  if (config.kubeletUid === undefined) {
    throw new IstioConfigError("ERR_ISTIO_CONFIG", "kubeletUid is missing: the kubelet's numeric user id");
  }
  const from = `meta l4proto tcp skuid ${config.kubeletUid}`;
  const rules = familiesOf(config.enableIpv6).map((family) => {
    const source = family === 4 ? config.hostProbeSnatAddress : config.hostProbeV6SnatAddress;
    const pods = `${family === 4 ? "ip" : "ip6"} daddr @${PROBE_SET}-v${family}`;
    return { chain: "postrouting", text: `${from} ${pods} counter snat to ${source}` };
  });
  const table = nftTable(nftTableName(options, "ambient", "nat"), [postroutingChain()], rules);
  return { tables: table === undefined ? [] : [table] };
}
