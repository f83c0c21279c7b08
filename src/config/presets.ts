// SPDX-License-Identifier: Apache-2.0
/** What every field is when a configuration leaves it out. */
import { ALL } from "./presets/all.ts";
import { ISTIO } from "./presets/istio.ts";
import { KUMA } from "./presets/kuma.ts";
import { LINKERD } from "./presets/linkerd.ts";
import { OSM } from "./presets/osm.ts";
import type { Preset } from "./presets/preset.ts";

export const PRESET_NAMES = ["istio", "kuma", "linkerd", "osm", "all"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  istio: ISTIO,
  kuma: KUMA,
  linkerd: LINKERD,
  osm: OSM,
  all: ALL,
};

/** Everything of the agent that is not a workload's. Workers as Istio's `concurrency`, timeouts as Envoy's. */
export const AGENT_DEFAULTS = {
  name: "default",
  mode: "auto",
  workers: 2,
  logLevel: "info",
  logFormat: "text",
  verifyInterval: "30s",
  connectTimeout: "10s",
  idleTimeout: "1h",
  acceleration: {
    mode: "off",
    paths: ["direct", "splice", "leg"],
    excludePorts: [],
    budget: 1_048_576,
    contract: "enforce",
    bypassPolicies: [],
    hops: "both",
  },
} as const;
