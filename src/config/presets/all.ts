// SPDX-License-Identifier: Apache-2.0
import { meshTraffic } from "./mesh-traffic.ts";
import type { Preset } from "./preset.ts";

const mesh = meshTraffic({ outbound: 0, inbound: 0, dns: 0, excludeInbound: [] });

/** What `exec` captures: it belongs to no mesh, and its ports must not meet those of a sidecar. */
export const ALL: Preset = {
  summary: "every outbound TCP connection, loopback and own addresses included; nothing inbound; free ports",
  alwaysExcludedInbound: [],
  sidecar: { uids: [1337], gids: [1337] },
  annotations: { known: {}, prefixes: [] },
  traffic: {
    ...mesh,
    outbound: { ...mesh.outbound, captureLoopback: true, captureLocal: true },
    inbound: { ...mesh.inbound, enabled: false },
  },
};
