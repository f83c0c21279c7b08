// SPDX-License-Identifier: Apache-2.0
import { LINKERD_ANNOTATIONS } from "../annotations/linkerd.ts";
import { meshTraffic } from "./mesh-traffic.ts";
import type { Preset } from "./preset.ts";

/** The proxy's own servers: control (taps) and admin (metrics, probes). */
const OWN_PORTS = [4190, 4191];
/** proxyInit.ignoreInboundPorts and ignoreOutboundPorts of Linkerd's chart: Galera's ports. */
const IGNORED_PORTS = [4567, 4568];

export const LINKERD: Preset = {
  summary: "Linkerd's defaults: ports 4140 and 4143, user 2102, Galera's and the proxy's own ports excluded",
  alwaysExcludedInbound: OWN_PORTS,
  sidecar: { uids: [2102], gids: [] },
  annotations: LINKERD_ANNOTATIONS,
  traffic: meshTraffic({
    outbound: 4140,
    inbound: 4143,
    dns: 15053,
    excludeOutbound: IGNORED_PORTS,
    excludeInbound: [...OWN_PORTS, ...IGNORED_PORTS],
  }),
};
