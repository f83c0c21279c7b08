// SPDX-License-Identifier: Apache-2.0
/** Rules of ambient mode as istio/cni/pkg/iptables makes them: ztunnel is known by the mark of its packets. */
import { type AmbientChains, ambientChains } from "./chain-names.ts";
import {
  append,
  type IptablesFamily,
  type IptablesProgram,
  type IptablesRule,
  insert,
  type ProgramOptions,
  programOf,
} from "./iptables-program.ts";
import { type AmbientHostConfig, type AmbientPodConfig, capturesPodDns } from "./istio-config.ts";
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

const MARK = `${hex(ZTUNNEL_MARK)}/${hex(ZTUNNEL_MASK)}`;
const CONNMARK = `${hex(ZTUNNEL_CONNMARK)}/${hex(ZTUNNEL_MASK)}`;
const FROM_ZTUNNEL = `-m mark --mark ${MARK}`;
const NOT_FROM_ZTUNNEL = `-m mark ! --mark ${MARK}`;

/** Rules of one pod's namespace. */
export function ambientPodIptables(config: AmbientPodConfig, options: ProgramOptions = {}): IptablesProgram {
  const chains = ambientChains(options);
  return programOf(config.enableIpv6, (family) => podRules(config, chains, family));
}

function podRules(config: AmbientPodConfig, chains: AmbientChains, family: IptablesFamily): IptablesRule[] {
  const dns = capturesPodDns(config);
  const loopback = family === 4 ? LOOPBACK_V4 : LOOPBACK_V6;
  const probe = family === 4 ? config.hostProbeSnatAddress : config.hostProbeV6SnatAddress;
  const prerouting = (text: string): IptablesRule => append("nat", chains.prerouting, text);
  const output = (text: string): IptablesRule => append("nat", chains.output, text);
  const inbound = `! -d ${loopback} -p tcp ! --dport ${ZTUNNEL_INBOUND_PORT} ${NOT_FROM_ZTUNNEL}`;
  return [
    ...jumps(chains, dns),
    ...config.virtualInterfaces.flatMap((nic) => [
      prerouting(`-i ${nic} -p tcp -j REDIRECT --to-ports ${ZTUNNEL_OUTBOUND_PORT}`),
      prerouting(`-i ${nic} -p tcp -j RETURN`),
    ]),
    ...excludedInterfaces(config, chains, dns),
    append("mangle", chains.prerouting, `${FROM_ZTUNNEL} -j CONNMARK --set-xmark ${CONNMARK}`),
    ...(config.ingressMode ? [] : [prerouting(`-s ${probe} -p tcp -m tcp -j ACCEPT`)]),
    output(`-d ${probe} -p tcp -m tcp -j ACCEPT`),
    ...(config.ingressMode ? [] : [prerouting(`${inbound} -j REDIRECT --to-ports ${ZTUNNEL_PLAINTEXT_PORT}`)]),
    append(
      "mangle",
      chains.output,
      `-m connmark --mark ${CONNMARK} -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff`,
    ),
    ...(dns ? dnsRules(chains, loopback) : []),
    output(`-p tcp -m mark --mark ${CONNMARK} -j ACCEPT`),
    output(`! -d ${loopback} -o lo -j ACCEPT`),
    output(`! -d ${loopback} -p tcp ${NOT_FROM_ZTUNNEL} -j REDIRECT --to-ports ${ZTUNNEL_OUTBOUND_PORT}`),
  ];
}

function jumps(chains: AmbientChains, dns: boolean): IptablesRule[] {
  const raw = [append("raw", "PREROUTING", `-j ${chains.prerouting}`), append("raw", "OUTPUT", `-j ${chains.output}`)];
  return [
    append("mangle", "PREROUTING", `-j ${chains.prerouting}`),
    append("mangle", "OUTPUT", `-j ${chains.output}`),
    append("nat", "OUTPUT", `-j ${chains.output}`),
    ...(dns ? raw : []),
    append("nat", "PREROUTING", `-j ${chains.prerouting}`),
  ];
}

function excludedInterfaces(config: AmbientPodConfig, chains: AmbientChains, dns: boolean): IptablesRule[] {
  const tables = dns ? (["nat", "mangle", "raw"] as const) : (["nat", "mangle"] as const);
  return (config.excludeInterfaces ?? []).flatMap((nic) =>
    tables.flatMap((table) => [
      append(table, chains.prerouting, `-i ${nic} -j RETURN`),
      append(table, chains.output, `-o ${nic} -j RETURN`),
    ]),
  );
}

/** Queries by UDP to the pod's own resolver are known by their interface, those by TCP by their address. */
function dnsRules(chains: AmbientChains, loopback: string): IptablesRule[] {
  const udp = `! -o lo -p udp ${NOT_FROM_ZTUNNEL} -m udp --dport ${DNS_PORT}`;
  const tcp = `! -d ${loopback} -p tcp --dport ${DNS_PORT} ${NOT_FROM_ZTUNNEL}`;
  return [
    append("nat", chains.output, `${udp} -j REDIRECT --to-port ${DNS_CAPTURE_PORT}`),
    append("nat", chains.output, `${tcp} -j REDIRECT --to-ports ${DNS_CAPTURE_PORT}`),
    append("raw", chains.output, `-p udp ${FROM_ZTUNNEL} -m udp --dport ${DNS_PORT} -j CT --zone 1`),
    append("raw", chains.prerouting, `-p udp ${NOT_FROM_ZTUNNEL} -m udp --sport ${DNS_PORT} -j CT --zone 1`),
  ];
}

/** Rules of the host's own namespace: the kubelet's probes of ambient pods get an address that pods let pass. */
export function ambientHostIptables(config: AmbientHostConfig, options: ProgramOptions = {}): IptablesProgram {
  const chains = ambientChains(options);
  return programOf(config.enableIpv6, (family) => {
    const source = family === 4 ? config.hostProbeSnatAddress : config.hostProbeV6SnatAddress;
    const probes = `-m owner --socket-exists -p tcp -m set --match-set ${PROBE_SET}-v${family} dst`;
    return [
      insert("nat", "POSTROUTING", 1, `-j ${chains.postrouting}`),
      append("nat", chains.postrouting, `${probes} -j SNAT --to-source ${source}`),
    ];
  });
}
