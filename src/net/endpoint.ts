// SPDX-License-Identifier: Apache-2.0
/** One end of a connection, as text and number. */
export interface Endpoint {
  /** IPv4 dotted, IPv6 as RFC 5952; never the v4-mapped form. */
  readonly address: string;
  readonly port: number;
}

const MAPPED = "::ffff:";

/** `::ffff:a.b.c.d`, as a dual-stack socket reports an IPv4 peer, becomes `a.b.c.d`; all else stays. */
export function unmapAddress(address: string): string {
  return address.startsWith(MAPPED) && address.includes(".") ? address.slice(MAPPED.length) : address;
}

/** `ip:port`, IPv6 in brackets. */
export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.address.includes(":")
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`;
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
