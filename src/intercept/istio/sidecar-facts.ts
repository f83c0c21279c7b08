// SPDX-License-Identifier: Apache-2.0
/** What both forms of the sidecar's rules conclude from a configuration before they make the first rule. */
import { isIP } from "node:net";
import { isMapped, parseIp } from "../../util/ip.ts";
import type { IptablesFamily } from "./iptables-program.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { LOOPBACK_V6 } from "./istio-constants.ts";

/**
 * "off" too when servers are to be captured and there are none: Istio switches DNS capture off for all rules then,
 * with a warning only.
 */
export function dnsCapture(config: SidecarConfig): "off" | "servers" | "all" {
  if (!config.redirectDns) return "off";
  if (config.captureAllDns) return "all";
  return config.dnsServersV4.length + config.dnsServersV6.length > 0 ? "servers" : "off";
}

/** The listed DNS servers of a family as host ranges; none when all DNS is captured. */
export function dnsServerRanges(config: SidecarConfig, family: IptablesFamily): readonly string[] {
  if (dnsCapture(config) !== "servers") return [];
  return family === 4 ? config.dnsServersV4.map((s) => `${s}/32`) : config.dnsServersV6.map((s) => `${s}/128`);
}

/** The family by how the address is written: ::ffff:10.0.0.0/104 is IPv6. */
export function rangesOf(ranges: readonly string[], family: IptablesFamily): readonly string[] {
  return ranges.filter((range) => isIP(addressOf(range)) === family);
}

/** The listed ranges of a family that are captured; empty while everything is. */
export function includedRanges(config: SidecarConfig, family: IptablesFamily): readonly string[] {
  return config.outboundIpRangesInclude === "*" ? [] : rangesOf(config.outboundIpRangesInclude, family);
}

/** One loopback range of either family is enough: the shortcut of both families goes. */
export function capturesLoopback(config: SidecarConfig): boolean {
  return config.outboundIpRangesInclude !== "*" && config.outboundIpRangesInclude.some(isLoopbackRange);
}

/** By the address in front of the slash, as written: 0.0.0.0/0 is none. */
function isLoopbackRange(range: string): boolean {
  const bytes = parseIp(addressOf(range));
  return isMapped(bytes) ? bytes[12] === 127 : bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function addressOf(range: string): string {
  return range.slice(0, range.indexOf("/"));
}

/** What counts as localhost in the rules of a family. */
export function loopbackOf(config: SidecarConfig, family: IptablesFamily): string {
  return family === 4 ? config.hostIpv4LoopbackCidr : LOOPBACK_V6;
}

export function capturesInbound(config: SidecarConfig): boolean {
  return config.inboundPortsInclude === "*" || config.inboundPortsInclude.length > 0;
}

export function isTproxy(config: SidecarConfig): boolean {
  return config.interceptionMode === "TPROXY";
}
