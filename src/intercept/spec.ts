// SPDX-License-Identifier: Apache-2.0
/**
 * What interception is asked to do for one workload: typed and validated; text forms of ports, CIDRs and
 * namespaces never travel further than the configuration. Every back-end compiles the same spec.
 */

/** An address range: `address` in its canonical text form, host bits zero. */
export interface Cidr {
  readonly address: string;
  readonly prefixLength: number;
}

/** "all", or exactly the listed ports. */
export type PortSet = "all" | readonly number[];
export type CidrSet = "all" | readonly Cidr[];

/** Of how many resolvers a UDP socket can await answers at once: RESOLVER_SLOTS of bpf/include/types.h. */
export const RESOLVERS_PER_SOCKET = 4;

/** Where the DNS forwarder listens on 127.0.0.1 and ::1 of the workload's namespace. */
interface DnsPorts {
  /** UDP and TCP. */
  readonly port: number;
  /** UDP alone: for further resolvers that one socket asks, up to RESOLVERS_PER_SOCKET in all; rules give each listed one its own. */
  readonly morePorts?: readonly number[];
}

export type DnsCapture =
  | { readonly kind: "off" }
  /** Queries to these resolvers on port 53, UDP and TCP. */
  | ({ readonly kind: "servers"; readonly servers: readonly string[] } & DnsPorts)
  | ({ readonly kind: "all" } & DnsPorts);

export interface OutboundSpec {
  /** The proxy's outbound port on 127.0.0.1 and ::1 of the workload's namespace. */
  readonly port: number;
  /** Ports captured wherever they go, as istio-iptables' `-q`. */
  readonly includePorts: readonly number[];
  readonly excludePorts: readonly number[];
  readonly includeCidrs: CidrSet;
  readonly excludeCidrs: readonly Cidr[];
  /** Capture connections to 127.0.0.0/8 and ::1 too. */
  readonly captureLoopback: boolean;
  /** Capture connections to addresses of the namespace itself. */
  readonly captureLocal: boolean;
  readonly dns: DnsCapture;
  /** With DNS capture: port 53 of loopback and own addresses is captured by the ranges even where the two above are off. */
  readonly captureLocalDns?: boolean;
  /** Capture by the group the socket was made under, as istio-iptables' ISTIO_OUTBOUND_OWNER_GROUPS. */
  readonly ownerGroups: OwnerGroups;
}

/** Group ids; an empty `only` captures nothing, DNS included. */
export type OwnerGroups =
  | { readonly kind: "all-except"; readonly groups: readonly number[] }
  | { readonly kind: "only"; readonly groups: readonly number[] };

export interface InboundSpec {
  /** The proxy's inbound port on 127.0.0.1 and ::1 of the workload's namespace. */
  readonly port: number;
  readonly includePorts: PortSet;
  readonly excludePorts: readonly number[];
  /** Client addresses. */
  readonly includeCidrs: CidrSet;
  readonly excludeCidrs: readonly Cidr[];
  /** Mark of the sockets by which the proxy speaks to the application with the client's address; absent: it does not. */
  readonly preserveMark?: { readonly value: number; readonly mask: number };
}

/** How the proxy's own traffic is told from the workload's: any one that matches is enough. */
export interface ProxyIdentity {
  readonly mark?: { readonly value: number; readonly mask: number };
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  /** cgroup v2 directory. */
  readonly cgroup?: string;
  /** An unmodified proxy that asks getsockopt(SO_ORIGINAL_DST) by itself. */
  readonly external: boolean;
  /** Absent: an external proxy enters its own pod wherever the inbound policy captures; ours never does. */
  readonly selfEntry?: SelfEntry;
}

/** Which of an external proxy's connections to its own pod enter by the inbound port, as istio-iptables has it. */
export interface SelfEntry {
  /** Users come before groups: of a user of the proxy, its group is not asked. */
  readonly uids: SelfEntryOwners;
  readonly gids: SelfEntryOwners;
  /** Own addresses where none enters. */
  readonly excludeCidrs: readonly Cidr[];
  /** What is left enters where the inbound policy captures, and keeps its destination, as TPROXY has it. */
  readonly transparent: boolean;
}

export interface SelfEntryOwners {
  /** Of those in `uids` or `gids` of the identity. */
  readonly ids: readonly number[];
  readonly ports: { readonly kind: "all-except" | "only"; readonly ports: readonly number[] };
}

export type FailMode = "deny" | "direct";

/** Whose traffic: everything in a network namespace, or the processes of one cgroup in it. */
export type Target =
  | { readonly kind: "netns"; readonly path: string }
  | {
      readonly kind: "cgroup";
      readonly path: string /** Namespace its proxy listens in. */;
      readonly netnsPath: string;
    };

/** Interfaces of the workload's namespace, by name; a `+` at the end stands for any ending, as with iptables. */
export interface InterfacePolicy {
  /** Traffic by these is left alone, in both directions. */
  readonly exclude: readonly string[];
  /** What arrives by these comes from a machine behind the pod (KubeVirt): it is captured as if it were outbound. */
  readonly reroute: readonly string[];
}

export interface InterceptSpec {
  readonly name: string;
  readonly target: Target;
  /** Absent: this direction is not intercepted. */
  readonly outbound?: OutboundSpec;
  readonly inbound?: InboundSpec;
  readonly proxy: ProxyIdentity;
  readonly interfaces: InterfacePolicy;
  /** False: IPv6 is left alone, in both directions. Absent: true. */
  readonly ipv6?: boolean;
  /** Drop packets that conntrack calls invalid before anything answers them with a reset; rules only. */
  readonly dropInvalid: boolean;
  readonly failMode: FailMode;
  /**
   * Connections that the proxy of another workload of the agent, with this too, makes to this one pass its own proxy;
   * eBPF only. Absent: false.
   */
  readonly oneHop?: boolean;
  /** Send an event for every verdict. */
  readonly trace: boolean;
}
