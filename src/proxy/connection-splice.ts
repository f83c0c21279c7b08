// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { socketFd } from "../net/socket-fd.ts";
import type { CarriedPast, SocketEnds } from "./acceleration.ts";
import type { LegName, OwnSocket, SplicedFlow } from "./splice.ts";
import { SpliceLeg } from "./splice-leg.ts";

/** Questions and answers that a connection shows before it is worth the trouble. */
const TURNS = 2;
/** What moves more than this in one direction is a stream, which is copied faster. */
const STREAM_BYTES = 262_144;

type Ended = readonly [socket: Socket, ends: SocketEnds];

/** Splicing of one connection of the proxy: enters its sockets, and has its legs armed. */
export class ConnectionSplice {
  readonly #near: Socket;
  readonly #outer: Socket;
  readonly #nearEnds: SocketEnds;
  readonly #outerEnds: SocketEnds;
  readonly #flow: SplicedFlow;
  #legs: readonly SpliceLeg[] = [];
  #isDone = false;
  #isStream = false;
  #turns = 0;
  #toUpstream = 0;
  #toDownstream = 0;
  #lastWasUp = false;
  #turnBegan = 0;

  /** `near`: towards the application, with its ends; `outer`: the other one. */
  constructor(flow: SplicedFlow, near: Ended, outer: Ended) {
    this.#flow = flow;
    [this.#near, this.#nearEnds] = near;
    [this.#outer, this.#outerEnds] = outer;
  }

  /** Bytes came through the proxy and are not written yet; so many in all towards each side. */
  touch(toUpstream: number, toDownstream: number, mayBeAlone: boolean): void {
    const isUp = toUpstream !== this.#toUpstream;
    if (!isUp && toDownstream === this.#toDownstream) return;
    this.#toUpstream = toUpstream;
    this.#toDownstream = toDownstream;
    if (this.#isDone) {
      for (const leg of this.#legs) leg.onChunk();
    } else if (this.#isConversation(isUp)) {
      this.#join(mayBeAlone);
    }
  }

  /** Its sockets are legs. */
  get isJoined(): boolean {
    return this.#legs.length > 0;
  }

  /** There is no proxy at the other end that takes part, or nothing will come of it. */
  get hasNoPair(): boolean {
    return this.#flow.hasNoPair || (this.#isDone && !this.isJoined);
  }

  /** Bytes that came from `source` and have neither gone past the proxy nor been read from the socket. */
  missing(source: Socket): number {
    const arrived = this.#flow.arrived(this.#nameOf(source));
    if (!arrived) return 0;
    // Modulo 2^32, and not much: what is there fits into a socket's buffer.
    return Math.max(0, (arrived.seen - arrived.redirected - source.bytesRead) | 0);
  }

  /** Nothing waits in the kernel to be sent by `socket`, or to be readable there. */
  isSettled(socket: Socket): boolean {
    const name = this.#nameOf(socket);
    return !this.#flow.arrived(name) || this.#flow.look(name, socket.bytesRead).isSettled;
  }

  carried(): CarriedPast {
    return this.#flow.carried();
  }

  get isDrained(): boolean {
    return this.#legs.every(({ isDrained }) => isDrained);
  }

  /** The connection is over: what went past the proxy, and why not all of it did. */
  end(): { readonly carried: CarriedPast; readonly reason: string } {
    this.#isDone = true;
    for (const leg of this.#legs) leg.end();
    const ended = this.#flow.end();
    return this.#isStream ? { ...ended, reason: "stream" } : ended;
  }

  #nameOf(socket: Socket): LegName {
    return socket === this.#near ? "near" : "outer";
  }

  #leg(name: LegName): SpliceLeg {
    const [source, target] = name === "near" ? [this.#near, this.#outer] : [this.#outer, this.#near];
    const isIdle = (): boolean => source.readableLength === 0 && target.writableLength === 0 && !source.isPaused();
    return new SpliceLeg(source, name, this.#flow, isIdle);
  }

  #join(mayBeAlone: boolean): void {
    // What is being written is counted already, but not with the kernel.
    if (this.#near.writableLength > 0 || this.#outer.writableLength > 0) return;
    const joined = this.#flow.join(state(this.#near, this.#nearEnds), state(this.#outer, this.#outerEnds), mayBeAlone);
    if (joined === "later") return;
    this.#isDone = true;
    if (joined !== "never") this.#legs = joined.map((name) => this.#leg(name));
  }

  #isConversation(isUp: boolean): boolean {
    const total = this.#toUpstream + this.#toDownstream;
    if (isUp !== this.#lastWasUp) {
      this.#turns++;
      this.#turnBegan = total;
    }
    this.#lastWasUp = isUp;
    this.#isStream = total - this.#turnBegan > STREAM_BYTES;
    return this.#turns > TURNS && !this.#isStream;
  }
}

function state(socket: Socket, ends: SocketEnds): OwnSocket {
  return { ends, fd: socketFd(socket), read: socket.bytesRead, written: socket.bytesWritten };
}
