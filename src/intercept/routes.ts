// SPDX-License-Identifier: Apache-2.0
import { cidrContains, formatIp, ipFamily } from "../util/ip.ts";
import type { NetworkNamespace } from "./network-namespace.ts";
import { readProcNet } from "./read-proc-net.ts";
import type { Cidr } from "./spec.ts";

/** A destination range and the interface that it leaves by. */
export interface Route {
  readonly destination: Cidr;
  readonly interface: string;
}

/** Of <linux/route.h> and <linux/ipv6_route.h>. */
const RTF_UP = 0x1;
const RTF_REJECT = 0x200;
const RTF_LOCAL = 0x80000000;

/**
 * The routes of a namespace: of IPv4 the main table, of IPv6 every table; where several lead to one range, that of the
 * least metric. Routes to the namespace's own addresses are left out, and so are those that depend on the source.
 */
export function readRoutes(netns: NetworkNamespace): Route[] {
  return [...parseRoutes4(readProcNet(netns, "route")), ...parseRoutes6(readProcNet(netns, "ipv6_route"))];
}

/** By which interface an address is reached: the longest range that has it; undefined where none has. */
export function interfaceTo(address: string, routes: readonly Route[]): string | undefined {
  const family = ipFamily(address);
  const fitting = routes.filter(
    ({ destination }) => ipFamily(destination.address) === family && cidrContains(destination, address),
  );
  fitting.sort((a, b) => b.destination.prefixLength - a.destination.prefixLength);
  return fitting[0]?.interface;
}

/** Text of /proc/net/route: a heading, then `Iface Destination Gateway Flags RefCnt Use Metric Mask …`. */
export function parseRoutes4(text: string): Route[] {
  const candidates = rows(text, 8).flatMap((fields) => {
    const [name = "", destination = "", , flags = "", , , metric = "", mask = ""] = fields;
    if (!isUsable(Number.parseInt(flags, 16))) return [];
    const address = littleEndian(destination);
    const prefixLength = littleEndian(mask).reduce((bits, byte) => bits + popCount(byte), 0);
    return [{ destination: { address: address.join("."), prefixLength }, interface: name, metric: Number(metric) }];
  });
  return best(candidates);
}

/** Text of /proc/net/ipv6_route: `destination length source length next-hop metric refcnt use flags interface`. */
export function parseRoutes6(text: string): Route[] {
  const candidates = rows(text, 10).flatMap((fields) => {
    const [destination = "", length = "", , sourceLength = "", , metric = "", , , flags = "", name = ""] = fields;
    if (sourceLength !== "00" || !isUsable(Number.parseInt(flags, 16)) || destination.startsWith("ff")) return [];
    const address = formatIp(Buffer.from(destination, "hex"));
    const prefixLength = Number.parseInt(length, 16);
    return [{ destination: { address, prefixLength }, interface: name, metric: Number.parseInt(metric, 16) }];
  });
  return best(candidates);
}

function rows(text: string, columns: number): string[][] {
  const lines = text.split("\n").map((line) => line.trim().split(/\s+/));
  return lines.filter((fields) => fields.length >= columns && fields[0] !== "Iface");
}

function isUsable(flags: number): boolean {
  return (flags & RTF_UP) !== 0 && (flags & RTF_REJECT) === 0 && (flags & RTF_LOCAL) === 0;
}

function littleEndian(hex: string): number[] {
  return [...Buffer.from(hex, "hex")].reverse();
}

function popCount(byte: number): number {
  return byte.toString(2).replaceAll("0", "").length;
}

function best(candidates: readonly (Route & { readonly metric: number })[]): Route[] {
  const chosen = new Map<string, Route & { readonly metric: number }>();
  for (const route of candidates) {
    const key = `${route.destination.address}/${route.destination.prefixLength}`;
    const known = chosen.get(key);
    if (!known || route.metric < known.metric) chosen.set(key, route);
  }
  return [...chosen.values()].map(({ destination, interface: name }) => ({ destination, interface: name }));
}
