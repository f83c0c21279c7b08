// SPDX-License-Identifier: Apache-2.0
/** Configurations of the other proxies: plain TCP, no logs, and their own defaults for everything else. */
import type { Program } from "./find-proxies.ts";
import { SERVER_ADDRESS } from "./place.ts";
import { SERVICES } from "./servers.ts";

export interface ForeignRole {
  /** Port for connections on their way out; absent: none. */
  readonly outbound?: number;
  /** Port for connections that arrive by sk_lookup, which it makes anew from 127.0.0.6; absent: none. */
  readonly inbound?: number;
}

/** Text of the file, and the arguments that make it run in the foreground with it. */
export function foreignConfig(
  { name, module }: Program,
  role: ForeignRole,
  file: string,
): { readonly text: string; readonly args: readonly string[] } {
  switch (name) {
    case "haproxy":
      return { text: haproxyConfig(role), args: ["-db", "-f", file] };
    case "nginx":
      return { text: nginxConfig(role, module, file), args: ["-c", file, "-e", "stderr"] };
    case "envoy":
      return {
        text: envoyConfig(role),
        args: ["-c", file, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "2"],
      };
  }
}

function haproxyConfig({ outbound, inbound }: ForeignRole): string {
  return `
global
  maxconn 5000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${outbound === undefined ? "" : haproxySide("outbound", outbound, "")}
${inbound === undefined ? "" : haproxySide("inbound", inbound, "  source 127.0.0.6")}
`;
}

function haproxySide(name: string, port: number, source: string): string {
  return `
frontend ${name}
  bind 0.0.0.0:${port}
  tcp-request connection reject if { dst_port ${port} }
  default_backend to-${name}
backend to-${name}
  option transparent
${source}
`;
}

/** nginx does not ask for the original destination: a port of its own stands for every server. */
export function nginxPort(base: number, service: number): number {
  return base + 100 + service;
}

function nginxConfig({ outbound = 0 }: ForeignRole, module: string | undefined, file: string): string {
  const servers = SERVICES.map(
    ({ port }, service) =>
      `  server { listen 0.0.0.0:${nginxPort(outbound, service)} backlog=4096; proxy_pass ${SERVER_ADDRESS}:${port}; }`,
  );
  return `
${module === undefined ? "" : `load_module ${module};`}
daemon off;
worker_processes auto;
pid ${file}.pid;
error_log stderr error;
events { worker_connections 8192; }
stream {
  access_log off;
${servers.join("\n")}
}
`;
}

function envoyConfig({ outbound, inbound }: ForeignRole): string {
  return `
static_resources:
  listeners:
${outbound === undefined ? "" : envoyListener("outbound", outbound)}
${inbound === undefined ? "" : envoyListener("inbound", inbound)}
  clusters:
${outbound === undefined ? "" : envoyCluster("outbound", "")}
${inbound === undefined ? "" : envoyCluster("inbound", ", upstream_bind_config: { source_address: { address: 127.0.0.6, port_value: 0 } }")}
`;
}

function envoyListener(name: string, port: number): string {
  return `  - name: ${name}
    address: { socket_address: { address: 0.0.0.0, port_value: ${port} } }
    traffic_direction: ${name.toUpperCase()}
    listener_filters:
    - name: envoy.filters.listener.original_dst
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: ${name}
          cluster: ${name}`;
}

function envoyCluster(name: string, more: string): string {
  return `  - { name: ${name}, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 5s${more} }`;
}
