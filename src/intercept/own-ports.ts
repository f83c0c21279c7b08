// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "./spec.ts";

/**
 * Ports the proxy listens on in the workload's namespace. None of them is led to another: the proxy would make the
 * connection anew, be led back to itself, and so on without an end.
 */
export function ownPorts({ outbound, inbound }: Pick<InterceptSpec, "outbound" | "inbound">): number[] {
  const dns = outbound?.dns;
  const dnsPort = dns === undefined || dns.kind === "off" ? undefined : dns.port;
  return [outbound?.port, inbound?.port, dnsPort].filter((port) => port !== undefined);
}
