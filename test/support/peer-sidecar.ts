// SPDX-License-Identifier: Apache-2.0
import type { SidecarConfig } from "../../src/intercept/istio/istio-config.ts";
import * as parse from "../../src/intercept/istio/parse-values.ts";

/** A configuration by Istio's Go field names; what Istio leaves out of its JSON has Go's zero value. */
export type GoConfig = Readonly<Record<string, unknown>>;

export function peerSidecar(config: GoConfig): SidecarConfig {
  const by = <T>(parser: (text: string, field: string) => T, name: string): T =>
    parser((config[name] ?? "") as string, name);
  const flag = (name: string): boolean => config[name] === true;
  const list = (name: string): readonly string[] => (config[name] ?? []) as readonly string[];
  return {
    proxyPort: by(parse.parsePort, "ProxyPort"),
    inboundCapturePort: by(parse.parsePort, "InboundCapturePort"),
    inboundTunnelPort: by(parse.parsePort, "InboundTunnelPort"),
    proxyUids: by(parse.parseIds, "ProxyUID"),
    proxyGids: by(parse.parseIds, "ProxyGID"),
    interceptionMode: by(parse.parseInterceptionMode, "InboundInterceptionMode"),
    inboundTproxyMark: by(parse.parseMark, "InboundTProxyMark"),
    inboundTproxyRouteTable: by(parse.parseRouteTable, "InboundTProxyRouteTable"),
    inboundPortsInclude: by(parse.parsePortsOrWildcard, "InboundPortsInclude"),
    inboundPortsExclude: by(parse.parsePorts, "InboundPortsExclude"),
    ownerGroupsInclude: by(parse.parseOwnerGroups, "OwnerGroupsInclude"),
    ownerGroupsExclude: by(parse.parseExcludedOwnerGroups, "OwnerGroupsExclude"),
    outboundPortsInclude: by(parse.parsePorts, "OutboundPortsInclude"),
    outboundPortsExclude: by(parse.parsePorts, "OutboundPortsExclude"),
    outboundIpRangesInclude: by(parse.parseRangesOrWildcard, "OutboundIPRangesInclude"),
    outboundIpRangesExclude: by(parse.parseRanges, "OutboundIPRangesExclude"),
    rerouteVirtualInterfaces: by(parse.parseInterfaces, "RerouteVirtualInterfaces"),
    excludeInterfaces: by(parse.parseInterfaces, "ExcludeInterfaces"),
    redirectDns: flag("RedirectDNS"),
    captureAllDns: flag("CaptureAllDNS"),
    dnsServersV4: list("DNSServersV4"),
    dnsServersV6: list("DNSServersV6"),
    dropInvalid: flag("DropInvalid"),
    enableIpv6: flag("EnableIPv6"),
    hostIpv4LoopbackCidr: by(parse.parseLoopbackCidr, "HostIPv4LoopbackCidr"),
  };
}
