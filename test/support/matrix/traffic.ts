// SPDX-License-Identifier: Apache-2.0
/** The types of traffic a pod sees, Istio's six and nine more that went wrong in real meshes, as data. */
import type { Place } from "./lab.ts";
import { type Family, MACHINE, MACHINE_INTERFACE, NEIGHBOUR, OUTSIDE, type PodName, podAddress } from "./places.ts";

/** `mapped`: an IPv4 address asked for by an IPv6 socket, as Java and Go do. */
export type AskedFamily = Family | "mapped";
export type Transport = "tcp" | "dns-tcp" | "udp" | "dns-udp" | "icmp" | "sctp";

export interface Who {
  readonly uid?: number;
  readonly gid?: number;
  readonly mark?: number;
}

export interface Traffic {
  /** Number of the type, a letter for each variant of it. */
  readonly id: string;
  readonly title: string;
  readonly transport: Transport;
  readonly families: readonly AskedFamily[];
  readonly from: Place;
  /** Bound before connecting, where the place has several. */
  readonly source?: Readonly<Record<Family, string>>;
  readonly to: Readonly<Record<Family, string>>;
  readonly port: number;
  /** Whose policy it meets, and which half of it. */
  readonly pod: PodName;
  readonly direction: "outbound" | "inbound";
  readonly who?: Who;
  /** The pod's own proxy asks. */
  readonly fromProxy?: boolean;
  /** The interface of the pod by which it comes or goes; eth0 unless told. */
  readonly interface?: string;
  /** Arrives by that interface on its way to somewhere else. */
  readonly forwarded?: boolean;
  /** The sidecar answers the call of this address with the pod itself. */
  readonly servedByPod?: boolean;
}

/** Group whose processes the settings with groups are about. */
export const GROUP = 4100;
export const APP = { uid: 4001, gid: 4001 };
const OWN_PROXY = { mark: 0x539 };
const SIDECAR = { uid: 1337, gid: 1337 };

const BOTH = ["v4", "v6"] as const;
const ALL = ["v4", "v6", "mapped"] as const;
const LOOPBACK = { v4: "127.0.0.1", v6: "::1" };

function pod(name: PodName): Readonly<Record<Family, string>> {
  return { v4: podAddress(name, "v4"), v6: podAddress(name, "v6") };
}

type Outbound = Partial<Traffic> & Pick<Traffic, "id" | "title" | "to" | "port">;

function outbound(traffic: Outbound): Traffic {
  return { transport: "tcp", families: ALL, from: "own", pod: "own", direction: "outbound", who: APP, ...traffic };
}

function inbound(traffic: Partial<Traffic> & Pick<Traffic, "id" | "title" | "port">): Traffic {
  return {
    transport: "tcp",
    families: BOTH,
    from: "outside",
    source: OUTSIDE.remote,
    to: pod(traffic.pod ?? "own"),
    pod: "own",
    direction: "inbound",
    ...traffic,
  };
}

const { remote, kubelet, host, control, resolver, service } = OUTSIDE;

export const TRAFFIC: readonly Traffic[] = [
  inbound({ id: "1a", title: "remote pod → pod, port 80", port: 80 }),
  inbound({ id: "1b", title: "remote pod → pod, port 8080", port: 8080 }),
  inbound({ id: "1c", title: "remote pod → pod with sidecar", port: 80, pod: "sidecar" }),
  outbound({ id: "2a", title: "pod → remote pod, port 80", to: remote, port: 80 }),
  outbound({ id: "2b", title: "pod → remote pod, port 8080", to: remote, port: 8080 }),
  outbound({ id: "2c", title: "pod with sidecar → remote pod", to: remote, port: 80, from: "sidecar", pod: "sidecar" }),
  inbound({ id: "3a", title: "Prometheus → pod, port 15020", port: 15020 }),
  inbound({ id: "3b", title: "Prometheus → pod, port 15090", port: 15090 }),
  outbound({ id: "4a", title: "pod → itself by its address", to: pod("own"), port: 80 }),
  outbound({ id: "4b", title: "pod → itself by loopback", to: LOOPBACK, port: 80 }),
  outbound({
    id: "4c",
    title: "pod with sidecar → service it serves",
    to: service,
    port: 80,
    from: "sidecar",
    pod: "sidecar",
    servedByPod: true,
  }),
  outbound({ id: "5a", title: "within the proxy (mark)", to: LOOPBACK, port: 80, who: OWN_PROXY, fromProxy: true }),
  outbound({
    id: "5b",
    title: "within the sidecar (user)",
    to: LOOPBACK,
    port: 80,
    who: SIDECAR,
    fromProxy: true,
    from: "sidecar",
    pod: "sidecar",
  }),
  outbound({
    id: "6a",
    title: "proxy → control plane (mark)",
    to: control,
    port: 15012,
    who: OWN_PROXY,
    fromProxy: true,
  }),
  outbound({
    id: "6b",
    title: "sidecar → control plane (user)",
    to: control,
    port: 15012,
    who: SIDECAR,
    fromProxy: true,
    from: "sidecar",
    pod: "sidecar",
  }),
  inbound({ id: "7", title: "kubelet probe → pod", source: kubelet, port: 80 }),
  outbound({ id: "8a", title: "pod → dnsmasq on loopback, UDP", transport: "dns-udp", to: LOOPBACK, port: 53 }),
  outbound({ id: "8b", title: "pod → dnsmasq on loopback, TCP", transport: "dns-tcp", to: LOOPBACK, port: 53 }),
  outbound({ id: "8c", title: "pod → resolver, UDP", transport: "dns-udp", to: resolver, port: 53, families: BOTH }),
  outbound({ id: "8d", title: "pod → resolver, TCP", transport: "dns-tcp", to: resolver, port: 53 }),
  outbound({
    id: "8e",
    title: "pod → no resolver, UDP 53",
    transport: "dns-udp",
    to: remote,
    port: 53,
    families: BOTH,
  }),
  inbound({ id: "9", title: "hostNetwork client → pod", source: host, port: 80 }),
  outbound({ id: "10", title: "pod → pod of a headless service", to: remote, port: 9042 }),
  inbound({ id: "11", title: "remote proxy → pod, tunnel port 15008", port: 15008 }),
  outbound({
    id: "12a",
    title: "machine behind the pod → remote pod",
    to: remote,
    port: 80,
    families: BOTH,
    from: "machine",
    source: MACHINE,
    forwarded: true,
    interface: MACHINE_INTERFACE,
    who: {},
  }),
  inbound({
    id: "12b",
    title: "machine behind the pod → pod",
    port: 80,
    from: "machine",
    source: MACHINE,
    interface: MACHINE_INTERFACE,
  }),
  outbound({
    id: "12c",
    title: "pod → machine behind it",
    to: MACHINE,
    port: 80,
    families: BOTH,
    interface: MACHINE_INTERFACE,
  }),
  outbound({ id: "13a", title: "UDP out", transport: "udp", to: remote, port: 8125, families: BOTH }),
  inbound({ id: "13b", title: "UDP in", transport: "udp", port: 8125 }),
  outbound({ id: "13c", title: "ICMP out", transport: "icmp", to: remote, port: 0, families: BOTH, who: {} }),
  inbound({ id: "13d", title: "ICMP in", transport: "icmp", port: 0 }),
  outbound({ id: "13e", title: "SCTP out", transport: "sctp", to: remote, port: 0, families: BOTH, who: {} }),
  inbound({ id: "13f", title: "SCTP in", transport: "sctp", port: 0 }),
  outbound({ id: "14a", title: "before the sidecar starts, out", to: remote, port: 80, from: "early", pod: "early" }),
  inbound({ id: "14b", title: "before the sidecar starts, in", port: 80, pod: "early" }),
  outbound({ id: "15a", title: "after the sidecar ended, out", to: remote, port: 80, from: "ended", pod: "ended" }),
  inbound({ id: "15b", title: "after the sidecar ended, in", port: 80, pod: "ended" }),
  outbound({ id: "16", title: `pod → remote pod as group ${GROUP}`, to: remote, port: 80, who: { gid: GROUP } }),
  outbound({
    id: "17",
    title: "pod → link-local neighbour",
    to: { v4: "", v6: `${NEIGHBOUR}%eth0` },
    port: 80,
    families: ["v6"],
  }),
];
