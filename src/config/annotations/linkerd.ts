// SPDX-License-Identifier: Apache-2.0
import type { RawTraffic } from "../schema/config.ts";
import type { AnnotationTable } from "./annotation.ts";
import * as v from "./values.ts";

const OFF: RawTraffic = { outbound: { enabled: false }, inbound: { enabled: false } };

function userId(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function ownPort(text: string): RawTraffic | undefined {
  const port = v.port(text);
  return port === undefined ? undefined : { inbound: { excludePorts: [port] } };
}

/** Annotations of Linkerd (linkerd.io "Proxy Configuration") that proxy-init reads; it has many others. */
export const LINKERD_ANNOTATIONS: AnnotationTable = {
  prefixes: [],
  known: {
    "linkerd.io/inject": {
      allowed: "enabled, ingress or disabled",
      read: (text) => (text === "disabled" ? OFF : text === "enabled" || text === "ingress" ? {} : undefined),
    },
    "config.linkerd.io/inbound-port": {
      allowed: "a port",
      read: v.reading(v.port, (port) => ({ inbound: { port } })),
    },
    "config.linkerd.io/outbound-port": {
      allowed: "a port",
      read: v.reading(v.port, (port) => ({ outbound: { port } })),
    },
    "config.linkerd.io/control-port": { allowed: "a port", read: ownPort },
    "config.linkerd.io/admin-port": { allowed: "a port", read: ownPort },
    "config.linkerd.io/skip-inbound-ports": {
      allowed: v.PORT_RANGES,
      read: v.reading(v.portRanges, (excludePorts) => ({ inbound: { excludePorts } })),
    },
    "config.linkerd.io/skip-outbound-ports": {
      allowed: v.PORT_RANGES,
      read: v.reading(v.portRanges, (excludePorts) => ({ outbound: { excludePorts } })),
    },
    // proxy-init compares them with the source of what comes in.
    "config.linkerd.io/skip-subnets": {
      allowed: v.ADDRESSES,
      read: v.reading(v.listOf(v.addressOrCidr), (excludeCidrs) => ({ inbound: { excludeCidrs } })),
    },
    "config.linkerd.io/proxy-uid": {
      allowed: "a user id",
      read: v.reading(userId, (uid) => ({ proxy: { uid } })),
    },
    "config.linkerd.io/proxy-gid": {
      allowed: "a group id",
      read: v.reading(userId, (gid) => ({ proxy: { gid } })),
    },
  },
};
