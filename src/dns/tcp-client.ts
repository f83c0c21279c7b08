// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { DnsArrival } from "./forwarder-options.ts";
import { errorAnswer, formatErrorAnswer, parseQuery, type Query, RCODE_SERVFAIL } from "./message.ts";
import { OpenQuery } from "./query-log.ts";
import type { Resolver } from "./resolver.ts";
import { frame, TcpFrames } from "./tcp-frames.ts";
import { TcpUpstream } from "./tcp-upstream.ts";
import { type ForwarderContext, resolversFor } from "./udp-server.ts";

/** One client connection with any number of queries under way; answers go out as they come (RFC 7766 §6.2.1.1). */
export class TcpClient {
  readonly #socket: Socket;
  readonly #context: ForwarderContext;
  readonly #client: Resolver;
  readonly #resolvers: readonly Resolver[];
  /** By address and port: one connection to each resolver asked. */
  readonly #upstreams = new Map<Resolver, TcpUpstream>();
  readonly #open = new Set<OpenQuery>();
  #inputEnded = false;

  constructor(socket: Socket, client: Resolver, arrival: DnsArrival, context: ForwarderContext) {
    this.#socket = socket;
    this.#context = context;
    this.#client = client;
    this.#resolvers = resolversFor(context, "tcp", client, arrival);
    const frames = new TcpFrames((message) => this.#received(message));
    socket.setNoDelay(true);
    socket.setTimeout(context.limits.idleTimeoutMs, () => {
      if (this.#open.size === 0) socket.destroy();
    });
    socket.on("data", (chunk) => frames.push(chunk));
    socket.on("drain", () => this.#balance());
    socket.on("end", () => {
      this.#inputEnded = true;
      this.#balance();
    });
    socket.on("error", () => {});
    socket.on("close", () => this.#closed());
  }

  close(): void {
    this.#socket.destroy();
  }

  #closed(): void {
    for (const upstream of this.#upstreams.values()) upstream.close();
    this.#upstreams.clear();
    for (const open of this.#open) open.end("client-gone", undefined, undefined);
    this.#open.clear();
  }

  #received(bytes: Buffer): void {
    const { log, limits } = this.#context;
    const parsed = parseQuery(bytes);
    if (parsed.kind === "drop") {
      // A stream of something else than queries will not become one.
      log.counters.dropped++;
      this.#socket.destroy();
      return;
    }
    const isFull = log.counters.activeQueries >= limits.maxConcurrent;
    const query = parsed.kind === "query" ? parsed.query : undefined;
    const open = new OpenQuery(log, "tcp", this.#client, query);
    this.#open.add(open);
    if (!query) {
      this.#end(open, "malformed", undefined, formatErrorAnswer(bytes));
    } else if (isFull) {
      this.#end(open, "refused", undefined, errorAnswer(bytes, query, RCODE_SERVFAIL));
    } else {
      this.#ask(bytes, query, open, 0);
      this.#balance();
    }
  }

  #ask(bytes: Buffer, query: Query, open: OpenQuery, index: number): void {
    const resolver = this.#resolvers[index];
    if (!resolver) {
      this.#end(open, "unreachable", undefined, errorAnswer(bytes, query, RCODE_SERVFAIL));
      return;
    }
    let last: Buffer | undefined;
    const isTransfer = query.type === "AXFR" || query.type === "IXFR";
    this.#upstreamTo(resolver).ask(
      bytes,
      query,
      (answer) => {
        last = answer;
        if (isTransfer) this.#write(answer);
        else this.#end(open, "answered", resolver, answer);
      },
      (failure) => {
        // A transfer ends by silence: whether it was complete is for the client to see (its last record).
        if (last) this.#finish(open, () => open.end("answered", resolver, last));
        else if (index + 1 < this.#resolvers.length) this.#ask(bytes, query, open, index + 1);
        else this.#end(open, failure, resolver, errorAnswer(bytes, query, RCODE_SERVFAIL));
      },
    );
  }

  #upstreamTo(resolver: Resolver): TcpUpstream {
    const known = this.#upstreams.get(resolver);
    if (known) return known;
    const { sockets, limits, log } = this.#context;
    const upstream = new TcpUpstream(resolver, {
      sockets,
      timeoutMs: limits.tcpTimeoutMs,
      onMismatch: () => log.counters.mismatches++,
    });
    this.#upstreams.set(resolver, upstream);
    return upstream;
  }

  #end(
    open: OpenQuery,
    outcome: Parameters<OpenQuery["end"]>[0],
    resolver: Resolver | undefined,
    answer: Buffer,
  ): void {
    this.#write(answer);
    this.#finish(open, () => open.end(outcome, resolver, answer));
  }

  #finish(open: OpenQuery, record: () => void): void {
    this.#open.delete(open);
    record();
    this.#balance();
  }

  #write(answer: Buffer): void {
    if (this.#socket.writable) this.#socket.write(frame(answer));
  }

  /** Reads on only while there is room for more queries and their answers; ends when the client has and all is said. */
  #balance(): void {
    if (this.#inputEnded) {
      if (this.#open.size === 0) this.#socket.end();
    } else if (this.#open.size >= this.#context.limits.maxPipelined || this.#socket.writableNeedDrain) {
      this.#socket.pause();
    } else if (this.#socket.isPaused()) {
      this.#socket.resume();
    }
  }
}
