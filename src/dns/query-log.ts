// SPDX-License-Identifier: Apache-2.0
import { performance } from "node:perf_hooks";
import type { DnsCounterSet } from "./dns-counters.ts";
import { type Query, rcodeOf } from "./message.ts";
import { type DnsOutcome, type DnsQueryRecord, type DnsTransport, formatEndpoint, rcodeName } from "./query-record.ts";
import type { Resolver } from "./resolver.ts";

/** One query from arrival to its record. `end` writes the record; a second call does nothing. */
export class OpenQuery {
  readonly #log: QueryLog;
  readonly #transport: DnsTransport;
  readonly #client: Resolver;
  readonly #query: Query | undefined;
  readonly #time = new Date();
  readonly #startedMs = performance.now();
  #ended = false;

  constructor(log: QueryLog, transport: DnsTransport, client: Resolver, query: Query | undefined) {
    this.#log = log;
    this.#transport = transport;
    this.#client = client;
    this.#query = query;
    log.counters.queries[transport]++;
    log.counters.activeQueries++;
  }

  /** `answer` is what the client was told, if anything. */
  end(outcome: DnsOutcome, resolver: Resolver | undefined, answer: Buffer | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    const { counters, onQuery } = this.#log;
    counters.activeQueries--;
    counters.outcomes[outcome]++;
    onQuery?.({
      time: this.#time.toISOString(),
      client: formatEndpoint(this.#client.address, this.#client.port),
      resolver: resolver ? formatEndpoint(resolver.address, resolver.port) : null,
      name: this.#query?.name ?? "",
      type: this.#query?.type ?? "",
      transport: this.#transport,
      rcode: answer ? rcodeName(rcodeOf(answer)) : null,
      durationMs: Math.round((performance.now() - this.#startedMs) * 1000) / 1000,
      outcome,
    });
  }
}

export interface QueryLog {
  readonly counters: DnsCounterSet;
  readonly onQuery: ((record: DnsQueryRecord) => void) | undefined;
}
