// SPDX-License-Identifier: Apache-2.0
import { ISTIO_ANNOTATIONS } from "../annotations/istio.ts";
import { meshTraffic } from "./mesh-traffic.ts";
import type { Preset } from "./preset.ts";

/** Telemetry of the agent, readiness and Envoy's Prometheus port: probes must reach them while the proxy is away. */
const ALWAYS_EXCLUDED = [15020, 15021, 15090];
/** istio/tools/istio-iptables: --proxy-uid, --proxy-gid. */
const SIDECAR_ID = 1337;

export const ISTIO: Preset = {
  summary: "Istio's defaults: every TCP connection in and out, loopback and own addresses pass",
  alwaysExcludedInbound: ALWAYS_EXCLUDED,
  sidecar: { uids: [SIDECAR_ID], gids: [SIDECAR_ID] },
  annotations: ISTIO_ANNOTATIONS,
  traffic: meshTraffic({ outbound: 15001, inbound: 15006, dns: 15053, excludeInbound: ALWAYS_EXCLUDED }),
};
