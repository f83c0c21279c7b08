// SPDX-License-Identifier: Apache-2.0
import { OSM_ANNOTATIONS } from "../annotations/osm.ts";
import { meshTraffic } from "./mesh-traffic.ts";
import type { Preset } from "./preset.ts";

/** Envoy's Prometheus listener and the rewritten liveness, readiness and startup probes. */
const ALWAYS_EXCLUDED = [15010, 15901, 15902, 15903];

/** Open Service Mesh (docs "Iptables Redirection"): inbound listener on 15003, user 1500. */
export const OSM: Preset = {
  summary: "Open Service Mesh's defaults: inbound port 15003, user 1500, probe and metrics ports excluded",
  alwaysExcludedInbound: ALWAYS_EXCLUDED,
  sidecar: { uids: [1500], gids: [] },
  annotations: OSM_ANNOTATIONS,
  traffic: meshTraffic({ outbound: 15001, inbound: 15003, dns: 15053, excludeInbound: ALWAYS_EXCLUDED }),
};
