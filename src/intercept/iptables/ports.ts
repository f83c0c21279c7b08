// SPDX-License-Identifier: Apache-2.0
import type { OutboundSpec } from "../spec.ts";

/** Port 53 excluded means DNS is excluded; the rules before would return first anyway. */
export function capturesDns(outbound: OutboundSpec): boolean {
  return outbound.dns.kind !== "off" && !outbound.excludePorts.includes(53);
}
