// SPDX-License-Identifier: Apache-2.0
import type { DnsOutcome, DnsTransport } from "./query-record.ts";

/** Counted since the forwarder was made; a snapshot is plain data. */
export interface DnsCounters {
  readonly queries: Readonly<Record<DnsTransport, number>>;
  readonly outcomes: Readonly<Record<DnsOutcome, number>>;
  /** Datagrams and messages from resolvers that answered no question of ours. */
  readonly mismatches: number;
  /** Datagrams too short to be answered, or answers themselves. */
  readonly dropped: number;
  readonly activeQueries: number;
  readonly tcpClients: number;
}

export const DNS_OUTCOMES: readonly DnsOutcome[] = [
  "answered",
  "truncated",
  "timeout",
  "unreachable",
  "refused",
  "malformed",
  "client-gone",
];

export class DnsCounterSet {
  queries: Record<DnsTransport, number> = { udp: 0, tcp: 0 };
  outcomes = Object.fromEntries(DNS_OUTCOMES.map((outcome) => [outcome, 0])) as Record<DnsOutcome, number>;
  mismatches = 0;
  dropped = 0;
  activeQueries = 0;
  tcpClients = 0;

  snapshot(): DnsCounters {
    return {
      queries: { ...this.queries },
      outcomes: { ...this.outcomes },
      mismatches: this.mismatches,
      dropped: this.dropped,
      activeQueries: this.activeQueries,
      tcpClients: this.tcpClients,
    };
  }
}
