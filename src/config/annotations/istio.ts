// SPDX-License-Identifier: Apache-2.0
import type { RawTraffic } from "../schema/config.ts";
import type { AnnotationTable } from "./annotation.ts";
import * as v from "./values.ts";

const OFF: RawTraffic = { outbound: { enabled: false }, inbound: { enabled: false } };
const MODES: Readonly<Record<string, RawTraffic>> = {
  REDIRECT: {},
  // TPROXY is asked for because it keeps the client's address.
  TPROXY: { inbound: { preserveSource: true } },
  NONE: OFF,
};

/** Annotations of Istio's CNI plug-in (istio.io "Resource Annotations"), sidecar and ambient. */
export const ISTIO_ANNOTATIONS: AnnotationTable = {
  prefixes: ["traffic.sidecar.istio.io/"],
  known: {
    "sidecar.istio.io/inject": {
      allowed: v.SWITCH,
      read: v.reading(v.toggle, (on) => (on ? {} : OFF)),
    },
    "sidecar.istio.io/interceptionMode": {
      allowed: "REDIRECT, TPROXY or NONE",
      read: (text) => MODES[text],
    },
    "status.sidecar.istio.io/port": {
      allowed: "a port; 0 for none",
      read: v.reading(v.port, (port) => ({ inbound: { excludePorts: port === 0 ? [] : [port] } })),
    },
    "traffic.sidecar.istio.io/includeInboundPorts": {
      allowed: v.PORTS_OR_ALL,
      read: v.reading(v.orAll(v.ports), (includePorts) => ({ inbound: { includePorts } })),
    },
    "traffic.sidecar.istio.io/excludeInboundPorts": {
      allowed: v.PORTS,
      read: v.reading(v.ports, (excludePorts) => ({ inbound: { excludePorts } })),
    },
    "traffic.sidecar.istio.io/includeOutboundPorts": {
      allowed: v.PORTS,
      read: v.reading(v.ports, (includePorts) => ({ outbound: { includePorts } })),
    },
    "traffic.sidecar.istio.io/excludeOutboundPorts": {
      allowed: v.PORTS,
      read: v.reading(v.ports, (excludePorts) => ({ outbound: { excludePorts } })),
    },
    "traffic.sidecar.istio.io/includeOutboundIPRanges": {
      allowed: v.CIDRS_OR_ALL,
      read: v.reading(v.orAll(v.cidrs), (includeCidrs) => ({ outbound: { includeCidrs } })),
    },
    "traffic.sidecar.istio.io/excludeOutboundIPRanges": {
      allowed: v.CIDRS,
      read: v.reading(v.cidrs, (excludeCidrs) => ({ outbound: { excludeCidrs } })),
    },
    "traffic.sidecar.istio.io/excludeInterfaces": {
      allowed: v.INTERFACES,
      read: v.reading(v.interfaces, (exclude) => ({ interfaces: { exclude } })),
    },
    "traffic.sidecar.istio.io/kubevirtInterfaces": {
      allowed: v.INTERFACES,
      read: v.reading(v.interfaces, (reroute) => ({ interfaces: { reroute } })),
    },
    "istio.io/reroute-virtual-interfaces": {
      allowed: v.INTERFACES,
      read: v.reading(v.interfaces, (reroute) => ({ interfaces: { reroute } })),
    },
    "ambient.istio.io/bypass-inbound-capture": {
      allowed: v.SWITCH,
      read: v.reading(v.toggle, (bypass) => (bypass ? { inbound: { enabled: false } } : {})),
    },
    "ambient.istio.io/dns-capture": {
      allowed: v.SWITCH,
      read: v.reading(v.toggle, (on) => ({ outbound: { dns: { capture: on ? "all" : "off" } } })),
    },
  },
  finish: withoutIdleExclusions,
};

/** istio-iptables looks at the excluded inbound ports only where all are included. */
function withoutIdleExclusions(traffic: RawTraffic): RawTraffic {
  const { inbound } = traffic;
  if (inbound?.includePorts === undefined || inbound.includePorts === "*") return traffic;
  return { ...traffic, inbound: { ...inbound, excludePorts: [] } };
}
