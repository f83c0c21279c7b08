// SPDX-License-Identifier: Apache-2.0
import type { RawTraffic } from "../schema/config.ts";
import type { AnnotationTable } from "./annotation.ts";
import * as v from "./values.ts";

const ENABLED = "enabled or disabled";

/** Kuma writes its switches as "enabled" and "disabled", and takes true and false as well. */
function enabled(text: string): boolean | undefined {
  return text === "enabled" ? true : text === "disabled" ? false : v.toggle(text);
}

const ALL_IPV6 = ["::/0"];
const addresses = v.listOf(v.addressOrCidr);

/** Annotations of Kuma (kuma.io "Kubernetes annotations and labels") that the transparent proxy reads. */
export const KUMA_ANNOTATIONS: AnnotationTable = {
  prefixes: ["traffic.kuma.io/"],
  known: {
    "kuma.io/transparent-proxying": {
      allowed: ENABLED,
      read: v.reading(
        enabled,
        (on): RawTraffic => (on ? {} : { outbound: { enabled: false }, inbound: { enabled: false } }),
      ),
    },
    "kuma.io/transparent-proxying-inbound-port": {
      allowed: "a port",
      read: v.reading(v.port, (port) => ({ inbound: { port } })),
    },
    "kuma.io/transparent-proxying-outbound-port": {
      allowed: "a port",
      read: v.reading(v.port, (port) => ({ outbound: { port } })),
    },
    "kuma.io/transparent-proxying-ip-family-mode": {
      allowed: "dualstack or ipv4",
      read: (text) =>
        text === "ipv4"
          ? { outbound: { excludeCidrs: ALL_IPV6 }, inbound: { excludeCidrs: ALL_IPV6 } }
          : text === "dualstack"
            ? {}
            : undefined,
    },
    "kuma.io/builtin-dns": {
      allowed: ENABLED,
      read: v.reading(enabled, (on): RawTraffic => ({ outbound: { dns: { capture: on ? "resolv.conf" : "off" } } })),
    },
    "kuma.io/builtin-dns-port": {
      allowed: "a port",
      read: v.reading(v.port, (port) => ({ outbound: { dns: { port } } })),
    },
    "kuma.io/sidecar-uid": {
      allowed: "a user id",
      read: v.reading(userId, (uid) => ({ proxy: { uid } })),
    },
    "traffic.kuma.io/exclude-inbound-ports": {
      allowed: v.PORT_RANGES,
      read: v.reading(v.portRanges, (excludePorts) => ({ inbound: { excludePorts } })),
    },
    "traffic.kuma.io/exclude-outbound-ports": {
      allowed: v.PORT_RANGES,
      read: v.reading(v.portRanges, (excludePorts) => ({ outbound: { excludePorts } })),
    },
    "traffic.kuma.io/exclude-inbound-ips": {
      allowed: v.ADDRESSES,
      read: v.reading(addresses, (excludeCidrs) => ({ inbound: { excludeCidrs } })),
    },
    "traffic.kuma.io/exclude-outbound-ips": {
      allowed: v.ADDRESSES,
      read: v.reading(addresses, (excludeCidrs) => ({ outbound: { excludeCidrs } })),
    },
    "traffic.kuma.io/exclude-outbound-ports-for-uids": {
      allowed:
        "empty: ports excluded for some users alone can't be expressed (outbound.excludeGroups excludes by group)",
      read: (text) => (text === "" ? {} : undefined),
    },
    "traffic.kuma.io/drop-invalid-packets": {
      allowed: v.SWITCH,
      read: v.reading(enabled, (dropInvalid) => ({ dropInvalid })),
    },
    // Logging rules: what is intercepted does not change, and `trace` shows more.
    "traffic.kuma.io/iptables-logs": { allowed: ENABLED, read: v.reading(enabled, () => ({})) },
  },
};

function userId(text: string): number | undefined {
  return /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}
