// SPDX-License-Identifier: Apache-2.0
import { rcodes } from "./rcodes.ts";

export type DnsTransport = "udp" | "tcp";

export type DnsOutcome =
  /** The resolver's answer reached the client as it was. */
  | "answered"
  /** Cut to fit the client's UDP size, with TC set. */
  | "truncated"
  /** No resolver answered in time. */
  | "timeout"
  /** No resolver could be reached, or none is known. */
  | "unreachable"
  /** Over the limit of concurrent queries. */
  | "refused"
  /** Could not be read as a query. */
  | "malformed"
  /** The client went before its answer came. */
  | "client-gone";

/** One line for each query. */
export interface DnsQueryRecord {
  /** RFC 3339, when the query came. */
  readonly time: string;
  /** "ip:port", IPv6 in brackets; so is `resolver`, which is null when nobody was asked. */
  readonly client: string;
  readonly resolver: string | null;
  /** Empty for a malformed query. */
  readonly name: string;
  readonly type: string;
  readonly transport: DnsTransport;
  /** What the client was told: "NOERROR", "SERVFAIL", …; null when it was told nothing. */
  readonly rcode: string | null;
  readonly durationMs: number;
  readonly outcome: DnsOutcome;
}

export function rcodeName(code: number): string {
  return rcodes[code] ?? `RCODE${code}`;
}

export function formatEndpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
