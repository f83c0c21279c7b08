// SPDX-License-Identifier: Apache-2.0
/**
 * Text values of Istio's flags and variables. `field` is the flag, variable or field as the user wrote it; every
 * function throws an IstioConfigError that names it, the value, and what is allowed.
 */
import { isIP } from "node:net";
import { formatIp, isMapped, parseIp } from "../../util/ip.ts";
import type { InterceptionMode, Wildcard } from "./istio-config.ts";
import { IstioConfigError } from "./istio-config-error.ts";

/** Istio's limit: they all become matches of one rule (istio/tools/common/config/validation.go). */
const MAX_INCLUDED_GROUPS = 64;
/** IFNAMSIZ without the final zero (include/uapi/linux/if.h). */
const MAX_INTERFACE_NAME = 15;
const MAX_U32 = 0xffff_ffff;
/** The one above is "no id" for the kernel (uid_valid() of include/linux/uidgid.h). */
const MAX_ID = MAX_U32 - 1;
/** As useradd(8) takes names, or a number. */
const OWNER = /^(\d{1,10}|[A-Za-z_][\w.-]{0,31}\$?)$/;

/** The elements of a comma list; empty ones are dropped, as Istio does. */
export function parseList(text: string): readonly string[] {
  return text
    .split(",")
    .map((element) => element.trim())
    .filter((element) => element !== "");
}

/** A port, 1 to 65535. */
export function parsePort(text: string, field: string): number {
  return parseNumber(text, field, 65535, "a port from 1 to 65535");
}

/** A comma list of ports; "*" is not one. */
export function parsePorts(text: string, field: string): readonly number[] {
  return parseList(text).map((port) => parseNumber(port, field, 65535, "a comma list of ports from 1 to 65535"));
}

/** "*" or a comma list of ports; empty: none. */
export function parsePortsOrWildcard(text: string, field: string): Wildcard<number> {
  if (text === "*") return "*";
  const allowed = '"*" alone, or a comma list of ports from 1 to 65535';
  return parseList(text).map((port) => parseNumber(port, field, 65535, allowed));
}

/** A comma list of address/length; "*" is not one. */
export function parseRanges(text: string, field: string): readonly string[] {
  return parseList(text).map((range) => parseRange(range, field, "a comma list of ranges such as 10.0.0.0/8"));
}

/** "*" or a comma list of address/length; empty: none. */
export function parseRangesOrWildcard(text: string, field: string): Wildcard<string> {
  if (text === "*") return "*";
  const allowed = '"*" alone, or a comma list of ranges such as 10.0.0.0/8';
  return parseList(text).map((range) => parseRange(range, field, allowed));
}

/** A comma list of user or group ids; names are the caller's to resolve. */
export function parseIds(text: string, field: string): readonly string[] {
  const allowed = `a comma list of ids from 0 to ${MAX_ID}`;
  return parseList(text).map((id) =>
    /^\d+$/.test(id) && Number(id) <= MAX_ID ? String(Number(id)) : reject(JSON.stringify(id), field, allowed),
  );
}

/** "*" or a comma list of at most 64 group names or ids; empty: none. */
export function parseOwnerGroups(text: string, field: string): Wildcard<string> {
  if (text === "*") return "*";
  const allowed = `"*" alone, or a comma list of at most ${MAX_INCLUDED_GROUPS} group names or ids`;
  const groups = parseList(text).map((group) => parseOwner(group, field, allowed));
  if (groups.length > MAX_INCLUDED_GROUPS) reject(`a list of ${groups.length} groups`, field, allowed);
  return groups;
}

/** A comma list of group names or ids, without "*". */
export function parseExcludedOwnerGroups(text: string, field: string): readonly string[] {
  return parseList(text).map((group) => parseOwner(group, field, "a comma list of group names or ids"));
}

/** A comma list of interface names. */
export function parseInterfaces(text: string, field: string): readonly string[] {
  const allowed = `a comma list of interface names of at most ${MAX_INTERFACE_NAME} characters`;
  return parseList(text).map((name) => {
    // dev_valid_name() of net/core/dev.c, without what means something else to iptables-restore or nft.
    const valid = /^[\x21-\x7e]+$/.test(name) && !/^-|["'\\/:!*]/.test(name) && name !== "." && name !== "..";
    if (!valid || name.length > MAX_INTERFACE_NAME) reject(JSON.stringify(name), field, allowed);
    return name;
  });
}

/** 127.a.b.c/8 to /32, as given. */
export function parseLoopbackCidr(text: string, field: string): string {
  const match = /^(127\.[\d.]+)\/([1-9]\d?)$/.exec(text);
  const length = Number(match?.[2]);
  if (match === null || isIP(match[1] ?? "") !== 4 || length < 8 || length > 32) {
    return reject(JSON.stringify(text), field, "an IPv4 loopback range from 127.0.0.0/8 to a single address with /32");
  }
  return text;
}

/** A packet mark, 1 to 4294967295. */
export function parseMark(text: string, field: string): number {
  return parseNumber(text, field, MAX_U32, `a mark from 1 to ${MAX_U32}`);
}

/** Number of a routing table, 1 to 4294967295. */
export function parseRouteTable(text: string, field: string): number {
  return parseNumber(text, field, MAX_U32, `the number of a routing table from 1 to ${MAX_U32}`);
}

/** "" is REDIRECT. */
export function parseInterceptionMode(text: string, field: string): InterceptionMode {
  if (text === "" || text === "REDIRECT") return "REDIRECT";
  if (text === "TPROXY") return "TPROXY";
  return reject(JSON.stringify(text), field, "REDIRECT or TPROXY");
}

function parseNumber(text: string, field: string, max: number, allowed: string): number {
  const value = /^\d+$/.test(text) || /^0x[\da-fA-F]+$/.test(text) ? Number(text) : 0;
  return value >= 1 && value <= max ? value : reject(JSON.stringify(text), field, allowed);
}

/**
 * The address as Go's net/netip prints it, since Istio prints its parsed form: host bits stay, IPv6 in RFC 5952 form.
 * A length is required: Istio takes a bare address for a mistake.
 */
function parseRange(text: string, field: string, allowed: string): string {
  const match = /^([\d.]+|[\da-fA-F:.]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const address = match?.[1] ?? "";
  const length = Number(match?.[2]);
  const family = isIP(address);
  if (family === 0 || length > (family === 4 ? 32 : 128)) return reject(JSON.stringify(text), field, allowed);
  const bytes = parseIp(address);
  return `${family === 6 && isMapped(bytes) ? "::ffff:" : ""}${formatIp(bytes)}/${length}`;
}

function parseOwner(text: string, field: string, allowed: string): string {
  return OWNER.test(text) ? text : reject(JSON.stringify(text), field, allowed);
}

function reject(shown: string, field: string, allowed: string): never {
  throw new IstioConfigError("ERR_ISTIO_CONFIG", `${field}: ${shown} is not ${allowed}`);
}
