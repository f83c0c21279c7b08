// SPDX-License-Identifier: Apache-2.0
/**
 * The configuration as the agent uses it: every default filled in, texts parsed, nothing optional but what
 * may really be absent. Plain data: it crosses threads and comes back from /config as it is.
 */
import type { CidrRange } from "../util/ip.ts";
import type { LogFormat, LogLevel } from "../util/log.ts";

export const MODES = ["auto", "ebpf", "mixed", "iptables", "tproxy", "nftables"] as const;
/** How traffic is steered; `mixed` is eBPF outbound and rules inbound, `auto` the best this machine can do. */
export type Mode = (typeof MODES)[number];

export const DNS_CAPTURES = ["off", "resolv.conf", "all"] as const;
export type DnsCaptureKind = (typeof DNS_CAPTURES)[number];

export const FAIL_MODES = ["deny", "direct"] as const;
/** What happens to new connections while nobody listens on the proxy's port. */
export type FailMode = (typeof FAIL_MODES)[number];

export const ACCELERATION_MODES = ["off", "auto"] as const;
/** `auto`: bytes take the fastest way that is safe for their reader, else the proxy copies them. */
export type AccelerationMode = (typeof ACCELERATION_MODES)[number];

export const CONTRACT_USES = ["enforce", "asymmetric", "ignore"] as const;
export type ContractUse = (typeof CONTRACT_USES)[number];

export const ACCELERATION_PATHS = ["direct", "splice", "leg"] as const;
export type AccelerationPath = (typeof ACCELERATION_PATHS)[number];

/** What packets may meet, and bytes that go past TCP don't. */
export const PACKET_POLICIES = ["cgroup-skb", "tc", "xdp", "netfilter"] as const;
export type PacketPolicy = (typeof PACKET_POLICIES)[number];

export const HOPS = ["both", "one"] as const;
/** `one`: of two proxies of the agent that a connection would pass, the second is left out. */
export type Hops = (typeof HOPS)[number];

/** How bytes may go past the proxy. */
export interface AccelerationConfig {
  readonly mode: AccelerationMode;
  /** Those that may be taken; copying always may. */
  readonly paths: readonly AccelerationPath[];
  /** Original destination ports whose connections are copied. */
  readonly excludePorts: readonly number[];
  /** Bytes of one direction that a reader may leave unread before the rest goes by TCP. */
  readonly budget: number;
  /**
   * `asymmetric`: applications receive by TCP whatever the kernel has shown; `ignore`: also where it has not shown that
   * it can be trusted.
   */
  readonly contract: ContractUse;
  /** Kinds of policy that bytes may go past; where one of the others stands on the path, they don't go `direct`. */
  readonly bypassPolicies: readonly PacketPolicy[];
  readonly hops: Hops;
}

export type PortSet = "all" | readonly number[];
export type CidrSet = "all" | readonly CidrRange[];

export interface DnsConfig {
  readonly capture: DnsCaptureKind;
  /** 0 asks for a free port. */
  readonly port: number;
  /** With `resolv.conf`: these resolvers instead of those in the file. */
  readonly servers?: readonly string[];
}

export interface OutboundConfig {
  readonly enabled: boolean;
  /** The proxy's outbound port; 0 asks for a free one. */
  readonly port: number;
  readonly includePorts: readonly number[];
  readonly excludePorts: readonly number[];
  readonly includeCidrs: CidrSet;
  readonly excludeCidrs: readonly CidrRange[];
  readonly captureLoopback: boolean;
  readonly captureLocal: boolean;
  /** Groups whose processes are captured. */
  readonly includeGroups: "all" | readonly number[];
  readonly excludeGroups: readonly number[];
  readonly dns: DnsConfig;
}

export interface InboundConfig {
  readonly enabled: boolean;
  /** The proxy's inbound port; 0 asks for a free one. */
  readonly port: number;
  readonly includePorts: PortSet;
  readonly excludePorts: readonly number[];
  /** Client addresses. */
  readonly includeCidrs: CidrSet;
  readonly excludeCidrs: readonly CidrRange[];
  readonly preserveSource: boolean;
}

/** How the proxy's own traffic is told from the workload's. Nothing but `external: false`: the agent's own mark. */
export interface ProxyIdentityConfig {
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly cgroup?: string;
  readonly external: boolean;
}

export type TargetConfig =
  /** Absolute path of a namespace file. */
  | { readonly kind: "netns"; readonly path: string }
  /** The network namespace this process is in. */
  | { readonly kind: "pid"; readonly pid: number }
  /** Absolute, or relative to the cgroup2 mount (then without a leading slash). */
  | {
      readonly kind: "cgroup";
      readonly path: string;
      /** Path of the namespace its processes are in; absent: the agent's own. */
      readonly netns?: string;
    };

/** Interfaces of the workload's namespace, by name. */
export interface InterfacesConfig {
  /** Traffic by these is left alone, in both directions. */
  readonly exclude: readonly string[];
  /** What arrives by these is captured as if the workload had made it: a virtual machine behind the pod. */
  readonly reroute: readonly string[];
}

export interface TrafficConfig {
  readonly outbound: OutboundConfig;
  readonly inbound: InboundConfig;
  readonly proxy: ProxyIdentityConfig;
  readonly interfaces: InterfacesConfig;
  readonly dropInvalid: boolean;
  readonly failMode: FailMode;
  readonly trace: boolean;
}

export interface WorkloadConfig extends TrafficConfig {
  readonly name: string;
  readonly target: TargetConfig;
  /** Its own, or the agent's. */
  readonly mode: Mode;
  readonly acceleration: AccelerationConfig;
}

/** What `exec --config` takes: `exec` makes a scope of its own, so name and target may be absent. */
export interface ExecWorkload extends TrafficConfig {
  readonly name?: string;
  readonly target?: TargetConfig;
  readonly mode?: Mode;
}

export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

export interface ProxyConfig {
  readonly connectTimeoutMs: number;
  /** 0: connections may idle for ever. */
  readonly idleTimeoutMs: number;
}

export interface AgentConfig {
  readonly name: string;
  readonly mode: Mode;
  readonly workers: number;
  readonly record?: string;
  readonly admin?: ListenAddress;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** How often what is in force is compared with what should be; 0: only at a reload. */
  readonly verifyIntervalMs: number;
  readonly proxy: ProxyConfig;
  readonly workloads: readonly WorkloadConfig[];
}

/** `netns:/run/netns/a`, `pid:7`, `cgroup:a/b`: equal texts name the same target. */
export function formatTarget(target: TargetConfig): string {
  return target.kind === "pid" ? `pid:${target.pid}` : `${target.kind}:${target.path}`;
}
