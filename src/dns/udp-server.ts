// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:dgram";
import type { DnsArrival, DnsLimits, OriginalResolverLookup } from "./forwarder-options.ts";
import {
  errorAnswer,
  formatErrorAnswer,
  isTruncated,
  parseQuery,
  type Query,
  RCODE_SERVFAIL,
  truncatedAnswer,
} from "./message.ts";
import { OpenQuery, type QueryLog } from "./query-log.ts";
import type { Resolver, UpstreamResult } from "./resolver.ts";
import { UdpExchange } from "./udp-exchange.ts";
import type { UpstreamSockets } from "./upstream-sockets.ts";

/** What both servers of a forwarder work with. */
export interface ForwarderContext {
  readonly sockets: UpstreamSockets;
  readonly limits: DnsLimits;
  readonly log: QueryLog;
  readonly originalResolver: OriginalResolverLookup;
  readonly fallbackResolvers: readonly Resolver[];
}

/** The resolver the client asked, and only that one; where it is not known, the workload's own in order. */
export function resolversFor(
  context: ForwarderContext,
  transport: "udp" | "tcp",
  client: Resolver,
  arrival: DnsArrival,
): readonly Resolver[] {
  const original = context.originalResolver(transport, client, arrival);
  return original ? [original] : context.fallbackResolvers;
}

interface Asked {
  readonly bytes: Buffer;
  readonly query: Query;
  readonly client: Resolver;
  readonly open: OpenQuery;
}

/** Answers queries that arrive on one bound UDP socket. */
export class UdpServer {
  readonly #socket: Socket;
  readonly #context: ForwarderContext;
  readonly #arrival: DnsArrival;
  readonly #exchanges = new Map<UdpExchange, OpenQuery>();

  constructor(socket: Socket, context: ForwarderContext) {
    this.#socket = socket;
    this.#context = context;
    this.#arrival = { localPort: socket.address().port };
    socket.on("message", (bytes, from) => this.#received(bytes, { address: from.address, port: from.port }));
    // A client that is gone gives an error to the socket it can't be told apart on; the next query is unharmed.
    socket.on("error", () => {});
  }

  close(): void {
    for (const [exchange, open] of this.#exchanges) {
      exchange.cancel();
      open.end("client-gone", undefined, undefined);
    }
    this.#exchanges.clear();
    this.#socket.close();
  }

  #received(bytes: Buffer, client: Resolver): void {
    const { log, limits } = this.#context;
    const parsed = parseQuery(bytes);
    // Nothing can be sent to port 0, which only a forged datagram comes from.
    if (parsed.kind === "drop" || client.port === 0) {
      log.counters.dropped++;
      return;
    }
    const query = parsed.kind === "query" ? parsed.query : undefined;
    const isFull = log.counters.activeQueries >= limits.maxConcurrent;
    const open = new OpenQuery(log, "udp", client, query);
    if (!query) {
      this.#reply(formatErrorAnswer(bytes), client, (answer) => open.end("malformed", undefined, answer));
    } else if (isFull) {
      const refusal = errorAnswer(bytes, query, RCODE_SERVFAIL);
      this.#reply(refusal, client, (answer) => open.end("refused", undefined, answer));
    } else {
      this.#forward({ bytes, query, client, open });
    }
  }

  #forward(asked: Asked): void {
    const { sockets, limits, log } = this.#context;
    const resolvers = resolversFor(this.#context, "udp", asked.client, this.#arrival);
    const options = {
      sockets,
      tryTimeoutMs: limits.tryTimeoutMs,
      attempts: limits.attempts,
      onMismatch: () => log.counters.mismatches++,
    };
    const exchange = new UdpExchange(asked, resolvers, options, (result) => {
      this.#exchanges.delete(exchange);
      this.#answer(asked, result);
    });
    this.#exchanges.set(exchange, asked.open);
    exchange.start();
  }

  #answer({ bytes, query, client, open }: Asked, result: UpstreamResult): void {
    if (result.kind !== "answer") {
      const failure = errorAnswer(bytes, query, RCODE_SERVFAIL);
      this.#reply(failure, client, (answer) => open.end(result.kind, result.resolver, answer));
      return;
    }
    const fits = result.answer.length <= query.udpPayloadBytes;
    const answer = fits ? result.answer : truncatedAnswer(bytes, query, result.answer);
    const outcome = isTruncated(answer) ? "truncated" : "answered";
    this.#reply(answer, client, () => open.end(outcome, result.resolver, answer));
  }

  #reply(answer: Buffer, client: Resolver, sent: (answer: Buffer) => void): void {
    this.#socket.send(answer, client.port, client.address, () => sent(answer));
  }
}
