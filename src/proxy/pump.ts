// SPDX-License-Identifier: Apache-2.0
// Hot: runs for every chunk of every connection. No closure, promise or copy per chunk.
import type { Socket } from "node:net";
import { takeSocketError } from "../net/socket-error.ts";

export interface PumpOwner {
  /** Bytes have come in, and are about to be written. */
  onChunk(): void;
  /** Bytes have moved otherwise. */
  touch(): void;
  /** The source's end was a reset. The pump does nothing more. */
  onReset(source: Socket, errnoName: string): void;
  /** The source has ended: what has come nevertheless and was not read; undefined where there is nothing. */
  takeRest(source: Socket): Buffer | undefined;
  /** One of the two directions of `socket` is over; called before the socket can close by itself. */
  onHalfDone(socket: Socket): void;
  /** Calls `end`, now or later, when the end of input may be told to `socket`. */
  whenEndable(socket: Socket, end: () => void): void;
  /** The source's stream is over: calls `deliver` for what was still on its way in the kernel, then `end`. */
  whenAllRead(source: Socket, deliver: (chunk: Buffer) => void, end: () => void): void;
}

/**
 * One direction of a connection. The kernel's send buffer is the buffer: reading stops while the target has not
 * taken the last chunk, so at most one chunk waits here. End of input becomes shutdown of the target once
 * everything is written. Errors and closing are the owner's.
 */
export class Pump {
  /** Read from the source. */
  bytes: number;
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #owner: PumpOwner;
  #ended = false;
  #paused = false;

  /** `bytes`: read from the source before. */
  constructor(source: Socket, target: Socket, owner: PumpOwner, bytes: number) {
    this.bytes = bytes;
    this.#source = source;
    this.#target = target;
    this.#owner = owner;
  }

  /** Everything read so far is with the target's kernel. */
  get isFlushed(): boolean {
    return this.#target.writableLength === 0 && this.#source.readableLength === 0;
  }

  start(): void {
    this.#source.on("data", this.#onData);
    this.#source.on("end", this.#onEnd);
    this.#source.resume();
  }

  #onData = (chunk: Buffer): void => {
    this.bytes += chunk.length;
    this.#owner.onChunk();
    this.#target.write(chunk, this.#onWritten);
    // write()'s answer compares with a high-water mark below the size of a chunk and would pause after each.
    if (this.#target.writableLength > 0) {
      this.#paused = true;
      this.#source.pause();
    }
  };

  #onWritten = (error?: Error | null): void => {
    if (error) return;
    this.#owner.touch();
    if (this.#target.writableLength > 0) return;
    if (this.#ended) {
      this.#owner.whenEndable(this.#target, this.#endTarget);
    } else if (this.#paused) {
      this.#paused = false;
      this.#source.resume();
    }
  };

  // Not end() while data is queued: libuv cannot reset a connection that waits for its shutdown.
  #onEnd = (): void => {
    const error = takeSocketError(this.#source);
    if (error) return this.#owner.onReset(this.#source, error);
    const rest = this.#owner.takeRest(this.#source);
    if (rest) {
      this.bytes += rest.length;
      this.#target.write(rest, this.#onWritten);
    }
    this.#owner.whenAllRead(this.#source, this.#onData, this.#onAllRead);
  };

  #onAllRead = (): void => {
    this.#ended = true;
    this.#owner.touch();
    this.#owner.onHalfDone(this.#source);
    if (this.#target.writableLength === 0) this.#owner.whenEndable(this.#target, this.#endTarget);
  };

  #endTarget = (): void => {
    if (this.#target.writableEnded || this.#target.destroyed) return;
    this.#owner.onHalfDone(this.#target);
    this.#target.end();
  };
}
