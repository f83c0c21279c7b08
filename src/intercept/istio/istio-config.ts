// SPDX-License-Identifier: Apache-2.0
/**
 * The configuration of Istio's own rule generators in Istio's terms (istio/tools/istio-iptables/pkg/config and
 * istio/cni/pkg/iptables): what `shunt istio-iptables` takes from flags and environment. Lists are parsed and
 * checked; CIDRs, group names and interface names keep the text that was given, because the rules print it.
 */

export type InterceptionMode = "REDIRECT" | "TPROXY";

/** "*", or the listed items; an empty list captures nothing. */
export type Wildcard<T> = "*" | readonly T[];

/** Sidecar rules: every field of Istio's Config that changes a rule. */
export interface SidecarConfig {
  readonly proxyPort: number;
  readonly inboundCapturePort: number;
  readonly inboundTunnelPort: number;
  /** In the order given; user and group names have been resolved to ids, as Istio's flags want numbers here. */
  readonly proxyUids: readonly string[];
  readonly proxyGids: readonly string[];
  readonly interceptionMode: InterceptionMode;
  readonly inboundTproxyMark: number;
  readonly inboundTproxyRouteTable: number;
  readonly inboundPortsInclude: Wildcard<number>;
  readonly inboundPortsExclude: readonly number[];
  /** Names or ids. An empty list captures nothing outbound, DNS included. */
  readonly ownerGroupsInclude: Wildcard<string>;
  readonly ownerGroupsExclude: readonly string[];
  readonly outboundPortsInclude: readonly number[];
  readonly outboundPortsExclude: readonly number[];
  /** Both families mixed, as printed. */
  readonly outboundIpRangesInclude: Wildcard<string>;
  readonly outboundIpRangesExclude: readonly string[];
  readonly rerouteVirtualInterfaces: readonly string[];
  readonly excludeInterfaces: readonly string[];
  readonly redirectDns: boolean;
  readonly captureAllDns: boolean;
  readonly dnsServersV4: readonly string[];
  readonly dnsServersV6: readonly string[];
  readonly dropInvalid: boolean;
  readonly enableIpv6: boolean;
  /** As printed: `127.0.0.1/32` unless told otherwise. */
  readonly hostIpv4LoopbackCidr: string;
}

/** Ambient in-pod rules, made by Istio's CNI agent. */
export interface AmbientPodConfig {
  readonly enableIpv6: boolean;
  readonly redirectDns: boolean;
  /** Of the pod: 0 as the agent, 1 on, 2 off. */
  readonly dnsProxy: 0 | 1 | 2;
  readonly ingressMode: boolean;
  readonly virtualInterfaces: readonly string[];
  /** Traffic by these is left alone; absent: none. */
  readonly excludeInterfaces?: readonly string[];
  readonly hostProbeSnatAddress: string;
  readonly hostProbeV6SnatAddress: string;
}

/** The pod's wish comes before the agent's setting. */
export function capturesPodDns(config: AmbientPodConfig): boolean {
  return config.dnsProxy === 0 ? config.redirectDns : config.dnsProxy === 1;
}

/** Ambient rules of the host's own namespace: probes of the kubelet get an address that in-pod rules let pass. */
export interface AmbientHostConfig {
  readonly enableIpv6: boolean;
  readonly hostProbeSnatAddress: string;
  readonly hostProbeV6SnatAddress: string;
  /** nftables only: by user instead of by socket. */
  readonly kubeletUid?: number;
}
