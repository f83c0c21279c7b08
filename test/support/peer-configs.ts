// SPDX-License-Identifier: Apache-2.0
/** Configurations of unmodified proxies behind Shunt; docs/external-proxies.md shows the same. */

export const HAPROXY_CONFIG = `
global
  log stdout format raw local0
  maxconn 100

defaults
  mode tcp
  log global
  timeout connect 5s
  timeout client 30s
  timeout server 30s

frontend outbound
  bind 127.0.0.1:15001
  bind ::1:15001
  # Whoever connects to the port itself has no original destination: HAProxy would connect to itself.
  tcp-request connection reject if { dst_port 15001 }
  log-format "outbound %[dst] %[dst_port]"
  default_backend original

backend original
  option transparent

frontend inbound4
  bind 127.0.0.1:15006
  tcp-request connection reject if { dst_port 15006 }
  log-format "inbound %[dst] %[dst_port]"
  default_backend application4

backend application4
  option transparent
  source 127.0.0.6

frontend inbound6
  bind ::1:15006
  tcp-request connection reject if { dst_port 15006 }
  log-format "inbound %[dst] %[dst_port]"
  default_backend application6

backend application6
  option transparent
  source [::6]
`;

/** `socks` is ADDRESS:PORT of the proxy that makes the connections. */
export function redsocksConfig(socks: { readonly address: string; readonly port: number }): string {
  return `
base {
  log_debug = on;
  log_info = on;
  log = stderr;
  daemon = off;
  redirector = iptables;
}
redsocks {
  local_ip = 127.0.0.1;
  local_port = 15001;
  ip = ${socks.address};
  port = ${socks.port};
  type = socks5;
}
`;
}

/** `inbound` is where it takes inbound connections: loopback is enough, and Istio's way is any address. */
export function envoyConfig(inbound: { readonly v4: string; readonly v6: string }): string {
  return `
static_resources:
  listeners:
  - name: outbound
    address: { socket_address: { address: 127.0.0.1, port_value: 15001 } }
    additional_addresses:
    - address: { socket_address: { address: "::1", port_value: 15001 } }
    traffic_direction: OUTBOUND
    listener_filters: &original
    - name: envoy.filters.listener.original_dst
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: outbound
          cluster: original
          access_log: ${accessLog("outbound")}
${inboundListener("inbound4", inbound.v4)}
${inboundListener("inbound6", inbound.v6)}
  clusters:
  - { name: original, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, connect_timeout: 5s }
${inboundCluster("inbound4", "127.0.0.6")}
${inboundCluster("inbound6", "::6")}
`;
}

function inboundListener(name: string, address: string): string {
  return `
  - name: ${name}
    address: { socket_address: { address: "${address}", port_value: 15006 } }
    traffic_direction: INBOUND
    listener_filters: *original
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: ${name}
          cluster: ${name}
          access_log: ${accessLog("inbound")}`;
}

function inboundCluster(name: string, source: string): string {
  return `
  - name: ${name}
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    upstream_bind_config: { source_address: { address: "${source}", port_value: 0 } }`;
}

function accessLog(direction: string): string {
  const line = `${direction} %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT% -> %UPSTREAM_HOST% %RESPONSE_FLAGS%\\n`;
  return `
          - name: envoy.access_loggers.stdout
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format: { text_format_source: { inline_string: "${line}" } }`;
}
