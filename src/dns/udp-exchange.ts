// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:dgram";
import { answers, type Query, withId } from "./message.ts";
import { freshId } from "./query-ids.ts";
import type { Resolver, UpstreamResult } from "./resolver.ts";
import { openUdp, type UpstreamSockets } from "./upstream-sockets.ts";

export interface UdpExchangeOptions {
  readonly sockets: UpstreamSockets;
  /** How long one try waits before the next one starts. */
  readonly tryTimeoutMs: number;
  /** How often each resolver is asked. */
  readonly attempts: number;
  /** Datagrams that are no answer to the query: forged, late or mistaken. */
  onMismatch(): void;
}

/**
 * Asks resolvers over UDP, one after the other, until one answers, once started. Earlier tries are listened to until the
 * end, so a slow answer is not lost to a retry. `done` comes exactly once, unless `cancel` came first.
 */
export class UdpExchange {
  readonly #bytes: Buffer;
  readonly #query: Query;
  readonly #options: UdpExchangeOptions;
  readonly #done: (result: UpstreamResult) => void;
  readonly #tries: Resolver[];
  readonly #sockets = new Set<Socket>();
  readonly #ids = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #last: Resolver | undefined;
  #newest: Socket | undefined;
  #heardNothing = false;
  #ended = false;

  constructor(
    asked: { readonly bytes: Buffer; readonly query: Query },
    resolvers: readonly Resolver[],
    options: UdpExchangeOptions,
    done: (result: UpstreamResult) => void,
  ) {
    this.#bytes = asked.bytes;
    this.#query = asked.query;
    this.#options = options;
    this.#done = done;
    this.#tries = Array.from({ length: options.attempts }, () => resolvers).flat();
  }

  start(): void {
    this.#next();
  }

  cancel(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    for (const socket of this.#sockets) socket.close();
    this.#sockets.clear();
  }

  #next(): void {
    clearTimeout(this.#timer);
    const resolver = this.#tries.shift();
    if (resolver) {
      this.#last = resolver;
      this.#timer = setTimeout(() => {
        this.#heardNothing = true;
        this.#next();
      }, this.#options.tryTimeoutMs);
      this.#try(resolver);
    } else {
      this.#finish({ kind: this.#heardNothing ? "timeout" : "unreachable", resolver: this.#last });
    }
  }

  #try(resolver: Resolver): void {
    const id = freshId((taken) => this.#ids.has(taken));
    this.#ids.add(id);
    let socket: Socket;
    try {
      socket = openUdp(this.#options.sockets, resolver, () => {
        if (this.#ended) return;
        socket.send(withId(this.#bytes, id));
      });
    } catch {
      this.#next();
      return;
    }
    this.#sockets.add(socket);
    this.#newest = socket;
    // ECONNREFUSED and unreachable networks come here by ICMP: no need to wait for the timeout.
    socket.on("error", () => {
      if (!this.#sockets.delete(socket)) return;
      socket.close();
      if (!this.#ended && this.#newest === socket) this.#next();
    });
    socket.on("message", (answer) => {
      if (this.#ended) return;
      if (!answers(answer, id, this.#bytes, this.#query.questionEnd)) this.#options.onMismatch();
      else this.#finish({ kind: "answer", answer: withId(answer, this.#query.id), resolver });
    });
  }

  #finish(result: UpstreamResult): void {
    if (this.#ended) return;
    this.cancel();
    this.#done(result);
  }
}
