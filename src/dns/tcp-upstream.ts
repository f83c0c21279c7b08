// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { answers, idOf, isResponse, type Query, withId } from "./message.ts";
import { freshId } from "./query-ids.ts";
import type { Resolver, UpstreamFailure } from "./resolver.ts";
import { frame, TcpFrames } from "./tcp-frames.ts";
import { openTcp, type UpstreamSockets } from "./upstream-sockets.ts";

export interface TcpUpstreamOptions {
  readonly sockets: UpstreamSockets;
  /** For the connection and for each answer. */
  readonly timeoutMs: number;
  onMismatch(): void;
}

interface Pending {
  readonly bytes: Buffer;
  readonly query: Query;
  readonly onAnswer: (answer: Buffer) => void;
  readonly onFailure: (failure: UpstreamFailure) => void;
  timer: NodeJS.Timeout | undefined;
  /** Sent on a connection that the resolver closed before answering: once more, then no more. */
  retried: boolean;
}

type State =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly connect: { cancel(): void } }
  | { readonly kind: "open"; readonly socket: Socket };

/** Types answered by more than one message: AXFR (RFC 5936) and IXFR (RFC 1995). */
const TRANSFERS = new Set([252, 251]);

/** One connection to a resolver, made when first needed, with any number of queries under way on it. */
export class TcpUpstream {
  readonly #resolver: Resolver;
  readonly #options: TcpUpstreamOptions;
  readonly #pending = new Map<number, Pending>();
  #state: State = { kind: "idle" };

  constructor(resolver: Resolver, options: TcpUpstreamOptions) {
    this.#resolver = resolver;
    this.#options = options;
  }

  /** `onFailure` ends a query; `onAnswer` does too, save for zone transfers, which go on until `close` or a pause. */
  ask(
    bytes: Buffer,
    query: Query,
    onAnswer: (answer: Buffer) => void,
    onFailure: (failure: UpstreamFailure) => void,
  ): void {
    const pending: Pending = { bytes, query, onAnswer, onFailure, timer: undefined, retried: false };
    const id = freshId((taken) => this.#pending.has(taken));
    this.#pending.set(id, pending);
    this.#startTimer(id, pending);
    if (this.#state.kind === "open") this.#state.socket.write(frame(withId(bytes, id)));
    else if (this.#state.kind === "idle") this.#connect();
  }

  /** Ends the connection; queries under way are dropped without a word. */
  close(): void {
    for (const pending of this.#pending.values()) clearTimeout(pending.timer);
    this.#pending.clear();
    this.#disconnect();
  }

  #startTimer(id: number, pending: Pending): void {
    clearTimeout(pending.timer);
    pending.timer = setTimeout(() => {
      this.#pending.delete(id);
      pending.onFailure("timeout");
    }, this.#options.timeoutMs);
  }

  #connect(): void {
    const connect = openTcp(this.#options.sockets, this.#resolver, {
      connected: (socket) => this.#opened(socket),
      failed: () => {
        this.#state = { kind: "idle" };
        this.#failAll("unreachable");
      },
    });
    this.#state = { kind: "connecting", connect };
  }

  #opened(socket: Socket): void {
    this.#state = { kind: "open", socket };
    const frames = new TcpFrames((message) => this.#received(message));
    socket.setNoDelay(true);
    socket.on("data", (chunk) => frames.push(chunk));
    socket.on("error", () => {});
    socket.on("close", () => this.#closed(socket));
    for (const [id, { bytes }] of this.#pending) socket.write(frame(withId(bytes, id)));
  }

  #received(message: Buffer): void {
    const id = message.length < 2 ? -1 : idOf(message);
    const pending = this.#pending.get(id);
    const isTransfer = pending !== undefined && TRANSFERS.has(pending.query.typeCode);
    // Later messages of a transfer may leave the question out (RFC 5936 §2.2.1).
    if (
      !pending ||
      !(isTransfer ? isResponse(message) : answers(message, id, pending.bytes, pending.query.questionEnd))
    ) {
      this.#options.onMismatch();
      return;
    }
    if (isTransfer) {
      this.#startTimer(id, pending);
    } else {
      clearTimeout(pending.timer);
      this.#pending.delete(id);
    }
    pending.onAnswer(withId(message, pending.query.id));
  }

  /** A resolver may close an idle connection at any time, also just as a query is sent (RFC 7766 §6.2.4). */
  #closed(socket: Socket): void {
    if (this.#state.kind !== "open" || this.#state.socket !== socket) return;
    this.#state = { kind: "idle" };
    for (const [id, pending] of this.#pending) {
      if (pending.retried || TRANSFERS.has(pending.query.typeCode)) {
        clearTimeout(pending.timer);
        this.#pending.delete(id);
        pending.onFailure("unreachable");
      } else {
        pending.retried = true;
      }
    }
    if (this.#pending.size > 0) this.#connect();
  }

  #failAll(failure: UpstreamFailure): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { timer, onFailure } of pending) {
      clearTimeout(timer);
      onFailure(failure);
    }
  }

  #disconnect(): void {
    const state = this.#state;
    this.#state = { kind: "idle" };
    if (state.kind === "connecting") state.connect.cancel();
    else if (state.kind === "open") state.socket.destroy();
  }
}
