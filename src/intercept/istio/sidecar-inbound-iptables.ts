// SPDX-License-Identifier: Apache-2.0
/** Inbound capture of the sidecar: by REDIRECT in nat, or by TPROXY in mangle. */
import type { SidecarChains } from "./chain-names.ts";
import { append, type IptablesFamily, type IptablesRule, insert } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { passthroughSource, SIDECAR_OUTBOUND_MARK } from "./istio-constants.ts";
import { capturesInbound, loopbackOf } from "./sidecar-facts.ts";

export function redirectInboundRules(config: SidecarConfig, chains: SidecarChains): IptablesRule[] {
  return portRules(config, chains, "nat", (port) => [`-p tcp${port} -j ${chains.inRedirect}`]);
}

export function tproxyInboundRules(
  config: SidecarConfig,
  chains: SidecarChains,
  family: IptablesFamily,
): IptablesRule[] {
  if (!capturesInbound(config)) return [];
  const mark = config.inboundTproxyMark;
  const tproxy = `-j TPROXY --tproxy-mark ${mark}/0xffffffff --on-port ${config.inboundCapturePort}`;
  return [
    append("mangle", chains.divert, `-j MARK --set-mark ${mark}`),
    append("mangle", chains.divert, "-j ACCEPT"),
    append("mangle", chains.tproxy, `! -d ${loopbackOf(config, family)} -p tcp ${tproxy}`),
    ...portRules(config, chains, "mangle", (port) => [
      `-p tcp${port} -m conntrack --ctstate RELATED,ESTABLISHED -j ${chains.divert}`,
      `-p tcp${port} -j ${chains.tproxy}`,
    ]),
  ];
}

/** Exclusions count only while every port is captured. */
function portRules(
  config: SidecarConfig,
  chains: SidecarChains,
  table: "nat" | "mangle",
  capture: (portMatch: string) => readonly string[],
): IptablesRule[] {
  if (!capturesInbound(config)) return [];
  const included =
    config.inboundPortsInclude === "*"
      ? [...config.inboundPortsExclude.map((port) => `-p tcp --dport ${port} -j RETURN`), ...capture("")]
      : config.inboundPortsInclude.flatMap((port) => capture(` --dport ${port}`));
  return [
    append(table, "PREROUTING", `-p tcp -j ${chains.inbound}`),
    ...included.map((text) => append(table, chains.inbound, text)),
  ];
}

/**
 * Marks by which packets between proxy and application find back, made in TPROXY mode whether or not a port is
 * captured. The three insertions come last because they stand before the exclusions.
 */
export function tproxyMarkRules(config: SidecarConfig, chains: SidecarChains, family: IptablesFamily): IptablesRule[] {
  const mark = config.inboundTproxyMark;
  const notLoopback = `! -d ${loopbackOf(config, family)} -p tcp -o lo`;
  const owners = [
    ...config.proxyUids.map((uid) => `--uid-owner ${uid}`),
    ...config.proxyGids.map((gid) => `--gid-owner ${gid}`),
  ];
  return [
    append("mangle", "PREROUTING", `-p tcp -m mark --mark ${mark} -j CONNMARK --save-mark`),
    append("mangle", "OUTPUT", `-p tcp -o lo -m mark --mark ${mark} -j RETURN`),
    ...owners.map((owner) =>
      append("mangle", "OUTPUT", `${notLoopback} -m owner ${owner} -j MARK --set-mark ${SIDECAR_OUTBOUND_MARK}`),
    ),
    append("mangle", "OUTPUT", `-p tcp -m connmark --mark ${mark} -j CONNMARK --restore-mark`),
    insert("mangle", chains.inbound, 1, `-p tcp -m mark --mark ${mark} -j RETURN`),
    insert("mangle", chains.inbound, 2, `-p tcp -s ${passthroughSource(family)} -i lo -j RETURN`),
    insert("mangle", chains.inbound, 3, `-p tcp -i lo -m mark ! --mark ${SIDECAR_OUTBOUND_MARK} -j RETURN`),
  ];
}
