// SPDX-License-Identifier: Apache-2.0
import { KUMA_ANNOTATIONS } from "../annotations/kuma.ts";
import { meshTraffic } from "./mesh-traffic.ts";
import type { Preset } from "./preset.ts";

/** Kuma's transparent proxy: ports as Istio's, user 5678 (kuma-dp), no port excluded by itself. */
export const KUMA: Preset = {
  summary: "Kuma's defaults: as istio, with the proxy's user 5678 and no excluded ports",
  alwaysExcludedInbound: [],
  sidecar: { uids: [5678], gids: [] },
  annotations: KUMA_ANNOTATIONS,
  traffic: meshTraffic({ outbound: 15001, inbound: 15006, dns: 15053, excludeInbound: [] }),
};
