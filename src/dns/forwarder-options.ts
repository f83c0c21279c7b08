// SPDX-License-Identifier: Apache-2.0
import type { NativeAddon } from "../native/addon.ts";
import type { DnsQueryRecord, DnsTransport } from "./query-record.ts";
import type { Resolver } from "./resolver.ts";
import type { UpstreamSockets } from "./upstream-sockets.ts";

export interface DnsLimits {
  /** Wait for one UDP try. */
  readonly tryTimeoutMs: number;
  /** Tries for each resolver. */
  readonly attempts: number;
  /** Wait for a TCP connection to a resolver, and for each answer on it. */
  readonly tcpTimeoutMs: number;
  /** Queries under way, UDP and TCP together; one more is answered SERVFAIL. */
  readonly maxConcurrent: number;
  readonly maxTcpClients: number;
  /** Queries under way on one client connection before no more are read from it. */
  readonly maxPipelined: number;
  /** A client connection with nothing under way is closed after this. */
  readonly idleTimeoutMs: number;
}

export const DEFAULT_DNS_LIMITS: DnsLimits = {
  tryTimeoutMs: 2000,
  attempts: 2,
  tcpTimeoutMs: 5000,
  maxConcurrent: 1000,
  maxTcpClients: 256,
  maxPipelined: 32,
  idleTimeoutMs: 10_000,
};

/** Where a query came to. */
export interface DnsArrival {
  readonly localPort: number;
  /** The accepted connection, for TCP. */
  readonly fd?: number;
}

/** Undefined: not known, the fallback resolvers are asked. */
export type OriginalResolverLookup = (
  transport: DnsTransport,
  client: Resolver,
  arrival: DnsArrival,
) => Resolver | undefined;

export interface DnsForwarderOptions extends UpstreamSockets {
  readonly addon: UpstreamSockets["addon"] & Pick<NativeAddon, "localAddress">;
  /** Bound UDP sockets and listening TCP sockets; the forwarder owns and closes them. */
  readonly udpFds: readonly number[];
  readonly tcpFds: readonly number[];
  readonly originalResolver?: OriginalResolverLookup;
  /** The workload's resolvers in order, for queries whose own is not known. */
  readonly fallbackResolvers: readonly Resolver[];
  readonly limits?: Partial<DnsLimits>;
  readonly onQuery?: (record: DnsQueryRecord) => void;
}
