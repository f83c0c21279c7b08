// SPDX-License-Identifier: Apache-2.0
/** Who is where in the lab of the matrix. Every address is private to the namespaces of one lab. */

export type Family = "v4" | "v6";
export type PodName = "own" | "sidecar" | "early" | "ended";

type Addresses = Readonly<Record<Family, string>>;

export const PODS: readonly PodName[] = ["own", "sidecar", "early", "ended"];

/** Addresses outside the pods, all of them on the node's side. */
export const OUTSIDE = {
  /** A pod of another node. */
  remote: { v4: "10.244.7.7", v6: "fd44:7::7" },
  /** Asks for the pod's health; the node's own address. */
  kubelet: { v4: "10.244.0.254", v6: "fd44::254" },
  /** A process in the network of the node. */
  host: { v4: "10.244.0.1", v6: "fd44::1" },
  /** The control plane. */
  control: { v4: "10.244.8.8", v6: "fd44:8::8" },
  /** Resolvers, the first one first in resolv.conf. */
  resolver: { v4: "10.244.9.53", v6: "fd44:9::53" },
  /** A service; the sidecar knows which pod serves it. */
  service: { v4: "10.96.0.10", v6: "fd96::10" },
} as const satisfies Record<string, Addresses>;

/** The node on every link to a pod. */
export const NEIGHBOUR = "fe80::1";

/** A machine behind pod `own`, on its interface vm0. */
export const MACHINE: Addresses = { v4: "10.244.50.2", v6: "fd44:50::2" };
export const MACHINE_GATEWAY: Addresses = { v4: "10.244.50.1", v6: "fd44:50::1" };
export const MACHINE_INTERFACE = "vm0";

export function podAddress(pod: PodName, family: Family): string {
  const number = PODS.indexOf(pod) + 1;
  return family === "v4" ? `10.244.1${number}.2` : `fd44:1${number}::2`;
}

export function podGateway(pod: PodName, family: Family): string {
  return podAddress(pod, family).replace(/2$/, "1");
}

/** Addresses of a pod's namespace, loopback aside. */
export function localAddresses(pod: PodName): string[] {
  const own = [podAddress(pod, "v4"), podAddress(pod, "v6")];
  return pod === "own" ? [...own, MACHINE_GATEWAY.v4, MACHINE_GATEWAY.v6] : own;
}
