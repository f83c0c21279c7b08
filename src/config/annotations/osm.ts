// SPDX-License-Identifier: Apache-2.0
import type { AnnotationTable } from "./annotation.ts";
import * as v from "./values.ts";

/** Annotations of Open Service Mesh (docs "Iptables Redirection"). */
export const OSM_ANNOTATIONS: AnnotationTable = {
  prefixes: [],
  known: {
    "openservicemesh.io/sidecar-injection": {
      allowed: "enabled or disabled",
      read: (text) =>
        text === "disabled"
          ? { outbound: { enabled: false }, inbound: { enabled: false } }
          : text === "enabled"
            ? {}
            : undefined,
    },
    "openservicemesh.io/inbound-port-exclusion-list": {
      allowed: v.PORTS,
      read: v.reading(v.ports, (excludePorts) => ({ inbound: { excludePorts } })),
    },
    "openservicemesh.io/outbound-port-exclusion-list": {
      allowed: v.PORTS,
      read: v.reading(v.ports, (excludePorts) => ({ outbound: { excludePorts } })),
    },
    "openservicemesh.io/outbound-ip-range-exclusion-list": {
      allowed: v.CIDRS,
      read: v.reading(v.cidrs, (excludeCidrs) => ({ outbound: { excludeCidrs } })),
    },
    "openservicemesh.io/outbound-ip-range-inclusion-list": {
      allowed: v.CIDRS,
      read: v.reading(v.cidrs, (includeCidrs) => ({ outbound: { includeCidrs } })),
    },
  },
};
