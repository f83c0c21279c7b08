// SPDX-License-Identifier: Apache-2.0
/**
 * IP addresses as canonical text and as the 16 bytes the kernel side works with. IPv4 lives in its
 * v4-mapped form ::ffff:a.b.c.d (RFC 4291 §2.5.5.2); text follows RFC 5952, and a v4-mapped address is
 * always written a.b.c.d, so that one address has one text.
 */
import { isIP } from "node:net";
import { ShuntError } from "./shunt-error.ts";

const MAPPED_PREFIX_BITS = 96;

/** An address range: `address` in canonical text, host bits zero; `prefixLength` counts in its own family. */
export interface CidrRange {
  readonly address: string;
  readonly prefixLength: number;
}

export class IpError extends ShuntError<"ERR_IP_ADDRESS" | "ERR_IP_CIDR"> {}

/** The 16 bytes of an address; throws an IpError for anything else, a zone ("%eth0") included. */
export function parseIp(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  writeIp(text, bytes, 0);
  return bytes;
}

/** As parseIp, into `bytes` at `offset`. */
export function writeIp(text: string, bytes: Uint8Array, offset: number): void {
  const family = isIP(text);
  if (family === 4) {
    bytes.fill(0, offset, offset + 10);
    bytes.fill(0xff, offset + 10, offset + 12);
    writeIpv4(text, bytes, offset + 12);
  } else if (family === 6 && !text.includes("%")) {
    writeIpv6(text, bytes, offset);
  } else {
    throw new IpError("ERR_IP_ADDRESS", `${JSON.stringify(text)} is not an IP address`);
  }
}

function writeIpv4(text: string, bytes: Uint8Array, offset: number): void {
  text.split(".").forEach((part, i) => {
    bytes[offset + i] = Number(part);
  });
}

function writeIpv6(text: string, bytes: Uint8Array, offset: number): void {
  bytes.fill(0, offset, offset + 16);
  const [head = "", tail] = text.split("::");
  const end = writeGroups(head, bytes, offset);
  if (tail === undefined) return;
  const groups = new Uint8Array(16);
  const length = writeGroups(tail, groups, 0);
  // isIP has checked that both halves fit.
  bytes.set(groups.subarray(0, length), Math.max(end, offset + 16 - length));
}

/** Writes "a:b:…" with an optional dotted end; returns the offset after the last byte. */
function writeGroups(text: string, bytes: Uint8Array, offset: number): number {
  let at = offset;
  if (text === "") return at;
  for (const group of text.split(":")) {
    if (group.includes(".")) {
      writeIpv4(group, bytes, at);
      at += 4;
    } else {
      const value = Number.parseInt(group, 16);
      bytes[at++] = value >> 8;
      bytes[at++] = value & 0xff;
    }
  }
  return at;
}

/** True for the v4-mapped form of an IPv4 address. */
export function isMapped(bytes: Uint8Array, offset = 0): boolean {
  for (let i = 0; i < 10; i++) if (bytes[offset + i] !== 0) return false;
  return bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff;
}

/** Canonical text of 16 bytes. */
export function formatIp(bytes: Uint8Array, offset = 0): string {
  const at = (i: number): number => bytes[offset + i] ?? 0;
  if (isMapped(bytes, offset)) return `${at(12)}.${at(13)}.${at(14)}.${at(15)}`;
  const groups = Array.from({ length: 8 }, (_, i) => (at(2 * i) << 8) | at(2 * i + 1));
  const run = longestZeroRun(groups);
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(":");
  if (run.length < 2) return hex(0, 8);
  return `${hex(0, run.start)}::${hex(run.start + run.length, 8)}`;
}

/** RFC 5952 §4.2.3: the longest run of zero groups, the first of equals. */
function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  groups.forEach((group, i) => {
    if (group !== 0) start = i + 1;
    else if (i - start + 1 > best.length) best = { start, length: i - start + 1 };
  });
  return best;
}

/** The one text of an address: "010.0.0.1" is refused, "::FFFF:10.0.0.1" becomes "10.0.0.1". */
export function canonicalIp(text: string): string {
  return formatIp(parseIp(text));
}

/** 4 or 6; a v4-mapped address counts as IPv4. */
export function ipFamily(text: string): 4 | 6 {
  return isMapped(parseIp(text)) ? 4 : 6;
}

/**
 * "10.0.0.0/8", "fd00::/8", or a bare address for that address alone. Host bits are cleared, as iptables
 * does. A v4-mapped range of at least 96 bits becomes the IPv4 range.
 */
export function parseCidr(text: string): CidrRange {
  const match = /^([^/]+?)(?:\/(\d{1,3}))?$/.exec(text);
  const address = match?.[1] ?? "";
  const family = isIP(address);
  const widest = family === 4 ? 32 : 128;
  const length = match?.[2] === undefined ? widest : Number(match[2]);
  if (family === 0 || address.includes("%") || length > widest) {
    throw new IpError("ERR_IP_CIDR", `${JSON.stringify(text)} is not an address range such as 10.0.0.0/8 or fd00::/8`);
  }
  const bytes = parseIp(address);
  const bits = family === 4 ? MAPPED_PREFIX_BITS + length : length;
  clearHostBits(bytes, bits);
  // A wide range of a mapped address is a range of IPv6: clearing has taken ffff away, or it stays an IPv6 text.
  return isMapped(bytes) && bits >= MAPPED_PREFIX_BITS
    ? { address: formatIp(bytes), prefixLength: bits - MAPPED_PREFIX_BITS }
    : { address: formatIp(bytes), prefixLength: bits };
}

function clearHostBits(bytes: Uint8Array, prefixBits: number): void {
  for (let i = 0; i < 16; i++) {
    const kept = Math.min(8, Math.max(0, prefixBits - 8 * i));
    bytes[i] = (bytes[i] ?? 0) & (0xff00 >> kept) & 0xff;
  }
}

/** Prefix length counted over the 16 bytes: an IPv4 /8 is 104. */
export function prefixBits(range: CidrRange): number {
  return isIP(range.address) === 4 ? MAPPED_PREFIX_BITS + range.prefixLength : range.prefixLength;
}

export function cidrContains(range: CidrRange, address: string): boolean {
  const bits = prefixBits(range);
  const inside = parseIp(address);
  clearHostBits(inside, bits);
  return formatIp(inside) === formatIp(parseIp(range.address));
}
