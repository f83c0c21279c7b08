// SPDX-License-Identifier: Apache-2.0
import type { InboundSpec, InterceptSpec, OutboundSpec } from "../../../../src/intercept/spec.ts";

export const MARK = { value: 0x539, mask: 0xfff };

export function anOutbound(changes: Partial<OutboundSpec> = {}): OutboundSpec {
  return {
    port: 15001,
    includePorts: [],
    excludePorts: [],
    includeCidrs: "all",
    excludeCidrs: [],
    captureLoopback: false,
    captureLocal: false,
    dns: { kind: "off" },
    ownerGroups: { kind: "all-except", groups: [] },
    ...changes,
  };
}

export function anInbound(changes: Partial<InboundSpec> = {}): InboundSpec {
  return {
    port: 15006,
    includePorts: "all",
    excludePorts: [15020, 15021, 15090],
    includeCidrs: "all",
    excludeCidrs: [],
    ...changes,
  };
}

export function aSpec(changes: Partial<InterceptSpec> = {}): InterceptSpec {
  return {
    name: "web",
    target: { kind: "netns", path: "/run/netns/web" },
    proxy: { mark: MARK, uids: [], gids: [], external: false },
    interfaces: { exclude: [], reroute: [] },
    dropInvalid: false,
    failMode: "deny",
    trace: false,
    ...changes,
  };
}
