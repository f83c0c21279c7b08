// SPDX-License-Identifier: Apache-2.0
/** A specification in the terms of Istio's own generator, for those who want Istio's chains instead of ours. */
import { isIP } from "node:net";
import { ShuntError } from "../../util/shunt-error.ts";
import type { Cidr, InboundSpec, InterceptSpec, OutboundSpec } from "../spec.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_CAPTURE_PORT } from "./istio-constants.ts";

/** Istio's rules cannot say what the specification asks; the message names field and value. */
export class IstioUnsupportedError extends ShuntError<"ERR_ISTIO_UNSUPPORTED"> {}

/** Istio's own defaults (istio/tools/istio-iptables/pkg/constants). */
const TUNNEL_PORT = 15_008;
const TPROXY = { mark: 1337, table: 133 };
const LOOPBACK = "127.0.0.1/32";

/** Throws an IstioUnsupportedError. `enableIpv6` is the caller's to find out: Istio asks the addresses of the pod. */
export function specToSidecar(spec: InterceptSpec, enableIpv6: boolean): SidecarConfig {
  refuse(spec);
  const { outbound, inbound, proxy, interfaces } = spec;
  return {
    ...outboundOf(outbound),
    ...inboundOf(inbound),
    inboundTunnelPort: TUNNEL_PORT,
    proxyUids: proxy.uids.map(String),
    proxyGids: proxy.gids.map(String),
    interceptionMode: "REDIRECT",
    inboundTproxyMark: TPROXY.mark,
    inboundTproxyRouteTable: TPROXY.table,
    rerouteVirtualInterfaces: interfaces.reroute,
    excludeInterfaces: interfaces.exclude,
    dropInvalid: spec.dropInvalid,
    enableIpv6,
    hostIpv4LoopbackCidr: LOOPBACK,
  };
}

type OutboundFields =
  | "proxyPort"
  | "ownerGroupsInclude"
  | "ownerGroupsExclude"
  | "outboundPortsInclude"
  | "outboundPortsExclude"
  | "outboundIpRangesInclude"
  | "outboundIpRangesExclude"
  | "redirectDns"
  | "captureAllDns"
  | "dnsServersV4"
  | "dnsServersV6";

/** Nothing included captures nothing, which is what an absent direction means. */
const NO_OUTBOUND: Pick<SidecarConfig, OutboundFields> = {
  proxyPort: 15_001,
  ownerGroupsInclude: [],
  ownerGroupsExclude: [],
  outboundPortsInclude: [],
  outboundPortsExclude: [],
  outboundIpRangesInclude: [],
  outboundIpRangesExclude: [],
  redirectDns: false,
  captureAllDns: false,
  dnsServersV4: [],
  dnsServersV6: [],
};

function outboundOf(outbound: OutboundSpec | undefined): Pick<SidecarConfig, OutboundFields> {
  if (outbound === undefined) return NO_OUTBOUND;
  const { dns, ownerGroups, includeCidrs } = outbound;
  const servers = dns.kind === "servers" ? dns.servers : [];
  const groups = ownerGroups.groups.map(String);
  return {
    proxyPort: outbound.port,
    ownerGroupsInclude: ownerGroups.kind === "only" ? groups : "*",
    ownerGroupsExclude: ownerGroups.kind === "only" ? [] : groups,
    outboundPortsInclude: outbound.includePorts,
    outboundPortsExclude: outbound.excludePorts,
    outboundIpRangesInclude: includeCidrs === "all" ? "*" : includeCidrs.map(text),
    outboundIpRangesExclude: outbound.excludeCidrs.map(text),
    redirectDns: dns.kind !== "off",
    captureAllDns: dns.kind === "all",
    dnsServersV4: servers.filter((server) => isIP(server) === 4),
    dnsServersV6: servers.filter((server) => isIP(server) === 6),
  };
}

function inboundOf(
  inbound: InboundSpec | undefined,
): Pick<SidecarConfig, "inboundCapturePort" | "inboundPortsInclude" | "inboundPortsExclude"> {
  if (inbound === undefined) return { inboundCapturePort: 15_006, inboundPortsInclude: [], inboundPortsExclude: [] };
  const all = inbound.includePorts === "all";
  return {
    inboundCapturePort: inbound.port,
    inboundPortsInclude: inbound.includePorts === "all" ? "*" : inbound.includePorts,
    // Exclusions count with "*" alone.
    inboundPortsExclude: all ? inbound.excludePorts : [],
  };
}

type Obstacle = readonly [applies: boolean, what: string];

function refuse(spec: InterceptSpec): void {
  const obstacles = [...obstaclesOf(spec), ...outboundObstacles(spec), ...inboundObstacles(spec)];
  const [found] = obstacles.filter(([applies]) => applies);
  if (found)
    throw new IstioUnsupportedError("ERR_ISTIO_UNSUPPORTED", `${spec.name}: Istio's rules can't do ${found[1]}`);
}

function obstaclesOf({ target, proxy, failMode }: InterceptSpec): readonly Obstacle[] {
  return [
    [target.kind === "cgroup", `cgroup: ${target.path}: they are for a whole network namespace`],
    [proxy.mark !== undefined, "proxy.mark: they know the proxy by user and group"],
    [proxy.cgroup !== undefined, `proxy.cgroup: ${proxy.cgroup}: they know the proxy by user and group`],
    [
      proxy.uids.length + proxy.gids.length === 0,
      "proxy: neither uid nor gid is given, and they know the proxy by nothing else",
    ],
    [failMode === "direct", "failMode: direct: rules can't see whether the proxy listens"],
  ];
}

function outboundObstacles({ outbound }: InterceptSpec): readonly Obstacle[] {
  if (outbound === undefined) return [];
  const { captureLoopback, captureLocal, dns } = outbound;
  const dnsPort = dns.kind === "off" ? DNS_CAPTURE_PORT : dns.port;
  return [
    [captureLoopback, "outbound.captureLoopback: they never capture loopback alone"],
    [captureLocal, "outbound.captureLocal: they never capture the pod's own addresses"],
    [dnsPort !== DNS_CAPTURE_PORT, `outbound.dns.port: ${dnsPort} is not ${DNS_CAPTURE_PORT}, which they have fixed`],
  ];
}

function inboundObstacles({ inbound }: InterceptSpec): readonly Obstacle[] {
  if (inbound === undefined) return [];
  return [
    [inbound.includeCidrs !== "all", "inbound.includeCidrs: they don't look at client addresses"],
    [inbound.excludeCidrs.length > 0, "inbound.excludeCidrs: they don't look at client addresses"],
    [
      inbound.preserveMark !== undefined,
      "inbound.preserveSource: their TPROXY form is made by shunt istio-iptables -m TPROXY",
    ],
  ];
}

function text({ address, prefixLength }: Cidr): string {
  return `${address}/${prefixLength}`;
}
