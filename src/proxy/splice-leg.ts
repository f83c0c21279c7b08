// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { socketFd } from "../net/socket-fd.ts";
import { startReading, stopReading, stopWatching } from "../net/socket-reading.ts";
import type { LegName, SplicedFlow } from "./splice.ts";

/** A leg that cannot be armed is tried again after so long, and then after twice as long. */
const FIRST_TRY_MS = 1;
const LONGEST_TRY_MS = 64;
/** Tries without success, and times that the kernel gave a leg back, before it is left at copying. */
const MOST_TRIES = 24;
const MOST_RETURNS = 12;
/** Tries right after a chunk: a peer that answers at once is met by none of them, and then only by chance. */
const PROMPT_TRIES = 8;
/** So often it is armed again at once; then it takes longer and longer. */
const PROMPT_RETURNS = 2;
/** How long after it was armed a leg is looked at, for what the memory of another processor had not told yet. */
const CONFIRM_MS = 2;
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 16;

/**
 * One of a connection's sockets that the kernel may read instead of the proxy. It is either read here, or armed, or
 * on its way back: not read by anybody until all that went past the proxy is with the other socket, so that nothing
 * is overtaken.
 */
export class SpliceLeg {
  readonly #socket: Socket;
  readonly #name: LegName;
  readonly #flow: SplicedFlow;
  readonly #isIdle: () => boolean;
  #state: "read" | "armed" | "returning" | "over" = "read";
  #watch: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #tries = 0;
  #promptTries = 0;
  #returns = 0;

  /** `isIdle`: nothing that came from the socket is in this process. */
  constructor(socket: Socket, name: LegName, flow: SplicedFlow, isIdle: () => boolean) {
    this.#socket = socket;
    this.#name = name;
    this.#flow = flow;
    this.#isIdle = isIdle;
    this.#tryIn(FIRST_TRY_MS);
    this.onChunk();
  }

  /** Nothing that came from the socket is between the kernel's two sockets. */
  get isDrained(): boolean {
    if (this.#state === "read" || this.#state === "over") return true;
    return this.#flow.look(this.#name, this.#socket.bytesRead).isDrained;
  }

  /**
   * Bytes are being passed on, from the socket or to it. After that nothing more of it is in this process, and most often
   * nothing more comes at once. Not before that: Node starts reading again when it has delivered data.
   */
  onChunk(): void {
    if (this.#state !== "read" || this.#promptTries >= PROMPT_TRIES || this.#returns > PROMPT_RETURNS) return;
    if (this.#soon === undefined) this.#soon = setImmediate(this.#trySoon);
  }

  end(): void {
    this.#state = "over";
    this.#unwatch();
  }

  #trySoon = (): void => {
    this.#soon = undefined;
    this.#promptTries++;
    this.#arm();
  };

  #tryIn(delayMs: number): void {
    this.#timer = setTimeout(this.#try, delayMs);
  }

  #try = (): void => {
    if (this.#arm() || ++this.#tries > MOST_TRIES) return;
    this.#tryIn(Math.min(FIRST_TRY_MS * 2 ** this.#tries, LONGEST_TRY_MS));
  };

  /** True when no other try is needed. */
  #arm(): boolean {
    const socket = this.#socket;
    if (this.#state !== "read" || socket.destroyed || socket.readableEnded) return true;
    if (!this.#isIdle() || !stopReading(socket)) return false;
    if (this.#flow.arm(this.#name, socket.bytesRead).isArmed) {
      this.#onArmed();
      return true;
    }
    startReading(socket);
    return false;
  }

  #onArmed(): void {
    this.#state = "armed";
    this.#tries = 0;
    this.#promptTries = 0;
    clearTimeout(this.#timer);
    this.#watch = this.#flow.watch(this.#name, socketFd(this.#socket), this.#onWake);
    this.#timer = setTimeout(this.#confirm, CONFIRM_MS);
  }

  #confirm = (): void => {
    this.#onWake();
    if (this.#state === "armed" && !stopWatching(this.#socket)) this.#timer = setTimeout(this.#confirm, CONFIRM_MS);
  };

  #onWake = (): void => {
    if (this.#state !== "armed" || this.#flow.look(this.#name, this.#socket.bytesRead).isArmed) return;
    this.#unwatch();
    this.#state = "returning";
    this.#return(FIRST_LOOK_MS);
  };

  #return = (nextLookMs: number): void => {
    if (this.#socket.destroyed) return;
    if (!this.#flow.look(this.#name, this.#socket.bytesRead).isDrained) {
      this.#timer = setTimeout(this.#return, nextLookMs, Math.min(2 * nextLookMs, LONGEST_LOOK_MS));
      return;
    }
    this.#state = "read";
    startReading(this.#socket);
    if (++this.#returns <= MOST_RETURNS) this.#tryIn(FIRST_TRY_MS * 2 ** this.#returns);
  };

  #unwatch(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }
}
