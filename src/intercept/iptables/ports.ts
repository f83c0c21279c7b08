// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec, OutboundSpec } from "../spec.ts";

/** Port 53 excluded means DNS is excluded; the rules before would return first anyway. */
export function capturesDns(outbound: OutboundSpec): boolean {
  return outbound.dns.kind !== "off" && !outbound.excludePorts.includes(53);
}

/** Ports our proxy listens on: never led to another of them. */
export function ownPorts(spec: InterceptSpec): number[] {
  const dns = spec.outbound?.dns;
  const ports = [
    spec.outbound?.port,
    spec.inbound?.port,
    dns === undefined || dns.kind === "off" ? undefined : dns.port,
  ];
  return ports.filter((port) => port !== undefined);
}
