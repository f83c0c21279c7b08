// SPDX-License-Identifier: Apache-2.0
/** What Istio sets next to its rules: addresses, policy routing rules, and routes that make any address local. */
import { familiesOf, type IptablesFamily } from "./iptables-program.ts";
import type { AmbientPodConfig, SidecarConfig } from "./istio-config.ts";
import { ZTUNNEL_CONNMARK, ZTUNNEL_MASK, ZTUNNEL_ROUTE_TABLE, ZTUNNEL_RULE_PRIORITY } from "./istio-constants.ts";
import { capturesInbound, isTproxy } from "./sidecar-facts.ts";

export interface LocalAddress {
  readonly family: IptablesFamily;
  readonly address: string;
  readonly prefixLength: number;
  readonly device: string;
}

/** "ip -FAMILY rule add fwmark MARK/MASK pref PRIORITY lookup TABLE". */
export interface PolicyRule {
  readonly family: IptablesFamily;
  readonly mark: number;
  /** Absent: all bits. */
  readonly mask?: number;
  /** Absent: the kernel picks one below the lowest there is. */
  readonly priority?: number;
  readonly table: number;
}

/** "ip -FAMILY route add local DESTINATION dev DEVICE table TABLE". */
export interface LocalRoute {
  readonly family: IptablesFamily;
  readonly destination: "0.0.0.0/0" | "::/0";
  readonly device: string;
  readonly table: number;
}

export interface RoutePlan {
  readonly addresses: readonly LocalAddress[];
  readonly rules: readonly PolicyRule[];
  readonly routes: readonly LocalRoute[];
}

/**
 * ::6 on lo whenever IPv6 is on, because 127.0.0.6 is local by its prefix and ::6 is not; the rule and route of
 * TPROXY when an inbound port is captured by it.
 */
export function sidecarRoutes(config: SidecarConfig): RoutePlan {
  const families = isTproxy(config) && capturesInbound(config) ? familiesOf(config.enableIpv6) : [];
  const table = config.inboundTproxyRouteTable;
  return {
    addresses: config.enableIpv6 ? [{ family: 6, address: "::6", prefixLength: 128, device: "lo" }] : [],
    rules: families.map((family) => ({ family, mark: config.inboundTproxyMark, table })),
    routes: families.map((family) => everythingLocal(family, table)),
  };
}

/** Packets that carry the mark restored from ztunnel's connmark are taken from the wire as local. */
export function ambientPodRoutes(config: AmbientPodConfig): RoutePlan {
  const families = familiesOf(config.enableIpv6);
  return {
    addresses: [],
    rules: families.map((family) => ({
      family,
      mark: ZTUNNEL_CONNMARK,
      mask: ZTUNNEL_MASK,
      priority: ZTUNNEL_RULE_PRIORITY,
      table: ZTUNNEL_ROUTE_TABLE,
    })),
    routes: families.map((family) => everythingLocal(family, ZTUNNEL_ROUTE_TABLE)),
  };
}

function everythingLocal(family: IptablesFamily, table: number): LocalRoute {
  return { family, destination: family === 4 ? "0.0.0.0/0" : "::/0", device: "lo", table };
}
