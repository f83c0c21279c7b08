// SPDX-License-Identifier: Apache-2.0
/** What every field is when a configuration leaves it out. */
import type { TrafficConfig } from "./model.ts";

export const PRESET_NAMES = ["istio", "all"] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export interface Preset {
  readonly summary: string;
  readonly traffic: TrafficConfig;
  /** Inbound ports that stay excluded whatever the configuration lists. */
  readonly alwaysExcludedInbound: readonly number[];
}

/** The user and group of Istio's sidecar (istio/tools/istio-iptables: --proxy-uid, --proxy-gid). */
export const SIDECAR_ID = 1337;

/** Telemetry of the agent, readiness and Envoy's Prometheus port: probes must reach them while the proxy is away. */
const ISTIO_EXCLUDED_INBOUND = [15020, 15021, 15090];

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  istio: {
    summary: "Istio's defaults: every TCP connection in and out, loopback and own addresses pass",
    alwaysExcludedInbound: ISTIO_EXCLUDED_INBOUND,
    traffic: {
      outbound: {
        enabled: true,
        port: 15001,
        includePorts: [],
        excludePorts: [],
        includeCidrs: "all",
        excludeCidrs: [],
        captureLoopback: false,
        captureLocal: false,
        dns: { capture: "off", port: 15053 },
      },
      inbound: {
        enabled: true,
        port: 15006,
        includePorts: "all",
        excludePorts: ISTIO_EXCLUDED_INBOUND,
        includeCidrs: "all",
        excludeCidrs: [],
        preserveSource: false,
      },
      proxy: { external: false },
      failMode: "deny",
      trace: false,
    },
  },
  all: {
    summary: "every outbound TCP connection, loopback and own addresses included; nothing inbound; free ports",
    alwaysExcludedInbound: [],
    traffic: {
      outbound: {
        enabled: true,
        port: 0,
        includePorts: [],
        excludePorts: [],
        includeCidrs: "all",
        excludeCidrs: [],
        captureLoopback: true,
        captureLocal: true,
        dns: { capture: "off", port: 0 },
      },
      inbound: {
        enabled: false,
        port: 0,
        includePorts: "all",
        excludePorts: [],
        includeCidrs: "all",
        excludeCidrs: [],
        preserveSource: false,
      },
      proxy: { external: false },
      failMode: "deny",
      trace: false,
    },
  },
};

/** Everything of the agent that is not a workload's. Workers as Istio's `concurrency`, timeouts as Envoy's. */
export const AGENT_DEFAULTS = {
  name: "default",
  mode: "auto",
  workers: 2,
  logLevel: "info",
  logFormat: "text",
  connectTimeout: "10s",
  idleTimeout: "1h",
} as const;
