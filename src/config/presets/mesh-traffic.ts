// SPDX-License-Identifier: Apache-2.0
import type { InboundConfig, OutboundConfig, TrafficConfig } from "../model.ts";

/** What the meshes have in common: all TCP in and out, but neither loopback nor the pod's own addresses. */
export function meshTraffic(ports: {
  readonly outbound: number;
  readonly inbound: number;
  readonly dns: number;
  readonly excludeOutbound?: readonly number[];
  readonly excludeInbound: readonly number[];
}): TrafficConfig {
  const outbound: OutboundConfig = {
    enabled: true,
    port: ports.outbound,
    includePorts: [],
    excludePorts: ports.excludeOutbound ?? [],
    includeCidrs: "all",
    excludeCidrs: [],
    captureLoopback: false,
    captureLocal: false,
    includeGroups: "all",
    excludeGroups: [],
    dns: { capture: "off", port: ports.dns },
  };
  const inbound: InboundConfig = {
    enabled: true,
    port: ports.inbound,
    includePorts: "all",
    excludePorts: ports.excludeInbound,
    includeCidrs: "all",
    excludeCidrs: [],
    preserveSource: false,
  };
  return {
    outbound,
    inbound,
    proxy: { uids: [], gids: [], external: false },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
  };
}
