// SPDX-License-Identifier: Apache-2.0
/** What Istio's sidecar rules mean, in interception's own terms: for back-ends that are no rules. */
import { isIP } from "node:net";
import { canonicalIp, ipFamily, parseCidr } from "../../util/ip.ts";
import type { Cidr, FailMode, InboundSpec, InterceptSpec, OutboundSpec, SelfEntry, Target } from "../spec.ts";
import type { SidecarConfig } from "./istio-config.ts";
import { DNS_CAPTURE_PORT, DNS_PORT, LOOPBACK_V6 } from "./istio-constants.ts";
import { capturesLoopback, dnsCapture, isTproxy } from "./sidecar-facts.ts";

/** What a configuration does not say. */
export interface SpecFacts {
  readonly name: string;
  readonly target: Target;
  readonly failMode: FailMode;
  /** Id of a group by its name, as the pod's /etc/group has it; see groupIds. */
  readonly groupId: (name: string) => number;
}

/** Throws what `groupId` throws for a name that is unknown. */
export function sidecarToSpec(config: SidecarConfig, facts: SpecFacts): InterceptSpec {
  return {
    name: facts.name,
    target: facts.target,
    outbound: outboundSpec(config, facts.groupId),
    inbound: inboundSpec(config),
    proxy: {
      uids: config.proxyUids.map(Number),
      gids: config.proxyGids.map(Number),
      external: true,
      selfEntry: selfEntry(config),
    },
    interfaces: { exclude: config.excludeInterfaces, reroute: config.rerouteVirtualInterfaces },
    ipv6: config.enableIpv6,
    dropInvalid: config.dropInvalid,
    failMode: facts.failMode,
    trace: false,
  };
}

function outboundSpec(config: SidecarConfig, groupId: (name: string) => number): OutboundSpec {
  const { outboundIpRangesInclude, ownerGroupsInclude } = config;
  const byGroup = (groups: readonly string[]): number[] =>
    groups.map((group) => (/^\d+$/.test(group) ? Number(group) : groupId(group)));
  // Without the shortcut for what goes over lo, localhost alone is left out, as a range among the others.
  const overLo = capturesLoopback(config);
  return {
    port: config.proxyPort,
    includePorts: config.outboundPortsInclude,
    excludePorts: config.outboundPortsExclude,
    includeCidrs: outboundIpRangesInclude === "*" ? "all" : cidrs(outboundIpRangesInclude),
    excludeCidrs: [...localhost(config), ...cidrs(config.outboundIpRangesExclude)],
    captureLoopback: overLo,
    captureLocal: overLo,
    captureLocalDns: true,
    dns: dns(config),
    ownerGroups:
      ownerGroupsInclude === "*"
        ? { kind: "all-except", groups: byGroup(config.ownerGroupsExclude) }
        : { kind: "only", groups: byGroup(ownerGroupsInclude) },
  };
}

function dns(config: SidecarConfig): OutboundSpec["dns"] {
  const kind = dnsCapture(config);
  if (kind !== "servers") return kind === "off" ? { kind } : { kind, port: DNS_CAPTURE_PORT };
  return { kind, servers: [...config.dnsServersV4, ...config.dnsServersV6].map(canonicalIp), port: DNS_CAPTURE_PORT };
}

/** Present though no port is captured: the proxy enters its own pod by the inbound port all the same. */
function inboundSpec(config: SidecarConfig): InboundSpec {
  const { inboundPortsInclude, inboundPortsExclude, inboundTunnelPort } = config;
  // In TPROXY mode the tunnel port is captured like any other.
  const tunnel = isTproxy(config) ? [] : [inboundTunnelPort];
  return {
    port: config.inboundCapturePort,
    includePorts: inboundPortsInclude === "*" ? "all" : inboundPortsInclude,
    // Exclusions count with "*" alone.
    excludePorts: inboundPortsInclude === "*" ? [...inboundPortsExclude, ...tunnel] : tunnel,
    includeCidrs: "all",
    excludeCidrs: [],
    ...(isTproxy(config) ? { preserveMark: { value: config.inboundTproxyMark, mask: 0xffff_ffff } } : {}),
  };
}

/**
 * Rules per user come before rules per group, and each user's block ends the evaluation for lo, but for port 53 with
 * DNS capture, unless a loopback range is included: then every block is reached.
 */
function selfEntry(config: SidecarConfig): SelfEntry {
  const users = config.proxyUids.map(Number);
  const groups = config.proxyGids.map(Number);
  const capturesDns = dnsCapture(config) !== "off";
  const never = [...config.outboundPortsExclude, config.inboundTunnelPort];
  const everyBlock = capturesLoopback(config);
  const allExcept = (ports: readonly number[]) => ({ kind: "all-except", ports }) as const;
  return {
    uids: {
      ids: everyBlock ? users : users.slice(0, 1),
      ports: allExcept(capturesDns ? [...never, DNS_PORT] : never),
    },
    gids:
      everyBlock || users.length === 0
        ? { ids: everyBlock ? groups : groups.slice(0, 1), ports: allExcept(never) }
        : {
            ids: capturesDns ? groups : [],
            ports: { kind: "only", ports: [DNS_PORT].filter((port) => !never.includes(port)) },
          },
    excludeCidrs: localhost(config),
    transparent: isTproxy(config),
  };
}

function localhost(config: SidecarConfig): Cidr[] {
  return cidrs([config.hostIpv4LoopbackCidr, LOOPBACK_V6]);
}

/** A range that is written as v4-mapped is one of IPv6 packets, of which there are none. */
function cidrs(ranges: readonly string[]): Cidr[] {
  const isMapped = (range: string, { address }: Cidr): boolean =>
    isIP(range.slice(0, range.indexOf("/"))) === 6 && ipFamily(address) === 4;
  return ranges.flatMap((range) => {
    const cidr = parseCidr(range);
    return isMapped(range, cidr) ? [] : [cidr];
  });
}
