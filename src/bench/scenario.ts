// SPDX-License-Identifier: Apache-2.0
/** What can be compared, by the names that options, tables and the JSON use. */

export const PATHS = ["direct", "iptables", "tproxy", "nftables", "ebpf", "ebpf-accelerated", "ebpf-spliced"] as const;
export const TOPOLOGIES = ["loopback", "veth"] as const;
export const PROXIES = ["shunt", "haproxy", "nginx", "envoy"] as const;
export const CLIENTS = ["polling", "blocking"] as const;
export const METRICS = ["p50", "p90", "p99", "p999", "rate", "throughput", "cpu"] as const;

export type PathName = (typeof PATHS)[number];
export type Topology = (typeof TOPOLOGIES)[number];
export type ProxyName = (typeof PROXIES)[number];
export type Client = (typeof CLIENTS)[number];
export type TestName = "latency" | "bulk" | "connect";
export type Metric = (typeof METRICS)[number];

/** How connections travel from the client to the server. */
export interface Route {
  readonly topology: Topology;
  readonly path: PathName;
  /** Proxies that each connection passes. */
  readonly proxies: 0 | 1 | 2;
  /** null where there is none. */
  readonly proxy: ProxyName | null;
}

/** What the client does; client and server are of the same kind. */
export interface Load {
  readonly client: Client;
  readonly test: TestName;
  /** At the same time. */
  readonly connections: number;
  /** Request and response have this size; with bulk, one write. */
  readonly bytes: number;
}

export function routeName({ topology, path, proxies, proxy }: Route): string {
  return `${topology}/${path}/${proxy === null ? "0" : `${proxies}-${proxy}`}`;
}

export function loadName({ client, test, connections, bytes }: Load): string {
  return `${client}/${test}/c${connections}/${bytes}B`;
}

/** What each test tells, in the order of tables. */
export const METRICS_OF: Readonly<Record<TestName, readonly Metric[]>> = {
  latency: ["p50", "p90", "p99", "p999", "rate", "cpu"],
  bulk: ["throughput", "cpu"],
  connect: ["p50", "p90", "p99", "p999", "rate", "cpu"],
};

export function unitOf(test: TestName, metric: Metric): string {
  if (metric === "rate") return test === "connect" ? "connections/s" : "requests/s";
  if (metric === "throughput") return "Gbit/s";
  if (metric === "cpu") return test === "bulk" ? "CPU s per GB" : "CPU s per million requests";
  return "µs";
}

/** Whether less is better. */
export function isCost(metric: Metric): boolean {
  return metric !== "rate" && metric !== "throughput";
}
