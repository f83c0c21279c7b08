// SPDX-License-Identifier: Apache-2.0
/**
 * A sidecar's configuration by Istio's Go field names; what Istio leaves out of its JSON has Go's zero value. Plain
 * JavaScript, because istio-rules.mjs is started once a case and must not wait for a compiler.
 *
 * @param {typeof import("../../../src/intercept/istio/parse-values.ts")} parse
 * @param {Readonly<Record<string, unknown>>} config
 * @returns {import("../../../src/intercept/istio/istio-config.ts").SidecarConfig}
 */
export function sidecarOf(parse, config) {
  /**
   * @template T
   * @param {(text: string, field: string) => T} parser
   * @param {string} name
   */
  const by = (parser, name) => parser(/** @type {string} */ (config[name] ?? ""), name);
  const flag = (/** @type {string} */ name) => config[name] === true;
  const list = (/** @type {string} */ name) => /** @type {readonly string[]} */ (config[name] ?? []);
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
