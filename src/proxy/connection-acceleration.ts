// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { type Endpoint, unmapAddress } from "../net/endpoint.ts";
import { readRest } from "../net/read-rest.ts";
import type {
  AcceleratedFlow,
  AccelerationRecord,
  Accelerator,
  Carried,
  CarriedPast,
  DataPath,
  ProxyEnd,
  SocketEnds,
} from "./acceleration.ts";
import { ConnectionSplice } from "./connection-splice.ts";
import { readLate } from "./late-bytes.ts";
import type { Direction } from "./original-destination.ts";
import type { Splicer } from "./splice.ts";

const NONE: CarriedPast = { fromApplication: 0, toApplication: 0 };
const NOTHING: Carried = { past: NONE, legs: NONE };
/** A stream that nobody answers is worth the trouble from here on. */
const ONE_WAY_BYTES = 262_144;
/** How long a reset waits for what came past the proxy to be read; an end in order waits as long as it takes. */
const RESET_PATIENCE_MS = 1_000;
const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 32;

/**
 * What acceleration is to one connection of the proxy: tries to get it, counts what it carried, and keeps ends and
 * resets back until the application has read what came past the proxy.
 */
export class ConnectionAcceleration {
  readonly #near: Socket;
  readonly #direction: Direction;
  readonly #flow: AcceleratedFlow | undefined;
  #reason: string;
  /** Bytes towards the upstream when the first answer came; −1 before. */
  #asked = -1;
  #carried = NOTHING;
  #ended = false;
  readonly #splice: ConnectionSplice | undefined;
  #spliced = NONE;
  #isDirectPossible: boolean;
  /** Sockets that have ended and have still bytes to read. */
  readonly #late = new Set<Socket>();

  constructor(
    { accelerator, splicer }: Paths,
    direction: Direction,
    downstream: Socket,
    upstream: Socket,
    destination: Endpoint,
  ) {
    const [near, outer] = direction === "outbound" ? [downstream, upstream] : [upstream, downstream];
    this.#near = near;
    this.#direction = direction;
    const ends = [endsOf(near), endsOf(outer)] as const;
    this.#flow = accelerator?.open(...ends, destination);
    this.#reason = this.#flow ? "short" : "none";
    const spliced = splicer?.open(destination);
    this.#isDirectPossible = this.#flow !== undefined;
    this.#splice = spliced && new ConnectionSplice(spliced, [near, ends[0]], [outer, ends[1]]);
  }

  /** Bytes came through the proxy; so many in all towards each side. */
  touch(toUpstream: number, toDownstream: number): void {
    const splice = this.#splice;
    if (splice && !this.#isDirectPossible) {
      splice.touch(toUpstream, toDownstream, this.#flow === undefined || this.#flow.isOver);
      if (splice.isJoined) return;
    }
    if (this.#flow === undefined) return;
    if (toDownstream === 0) {
      if (toUpstream < ONE_WAY_BYTES) return;
    } else if (this.#asked < 0) {
      this.#asked = toUpstream;
      // One question and its answer are most often all there is.
      if (toDownstream < ONE_WAY_BYTES) return;
    } else if (toUpstream === this.#asked && toDownstream < ONE_WAY_BYTES) {
      return;
    }
    this.#isDirectPossible = this.#flow.advance(!splice || splice.hasNoPair);
  }

  /** Bytes have gone past the proxy since this was last asked. */
  hasMoved(): boolean {
    const before = [this.#carried.past, this.#spliced];
    const now = [this.#look().past, this.#spliced];
    return now.some(
      (one, i) => this.#from(one) !== this.#from(before[i] ?? NONE) || this.#to(one) !== this.#to(before[i] ?? NONE),
    );
  }

  /** Bytes that went past the proxy, in the record's terms. */
  get received(): number {
    return this.#from(this.#look().past) + this.#from(this.#spliced);
  }

  get sent(): number {
    return this.#to(this.#look().past) + this.#to(this.#spliced);
  }

  /** What has come from `source` and was not read when its end was told; undefined where there is nothing. */
  takeRest(source: Socket): Buffer | undefined {
    return this.#flow?.hasLeg(this.#endOf(source)) ? readRest(source) : undefined;
  }

  /** Calls `act` when ending `socket` overtakes nothing: at once, or when the application has read. */
  whenRead(socket: Socket, act: () => void, isReset: boolean): void {
    if (!this.#isHeldBack(socket, isReset)) return act();
    const deadline = performance.now() + RESET_PATIENCE_MS;
    const look = (delayMs: number): void => {
      const isLate = isReset && performance.now() > deadline;
      if (socket.destroyed || isLate || !this.#isHeldBack(socket, isReset)) return act();
      setTimeout(look, delayMs, Math.min(2 * delayMs, LONGEST_LOOK_MS));
    };
    setTimeout(look, FIRST_LOOK_MS, FIRST_LOOK_MS);
  }

  /** `source` is at its end: delivers what is still to come from it, then calls `end`, or `fail` when it never comes. */
  readRest(source: Socket, deliver: (chunk: Buffer) => void, end: () => void, fail: () => void): void {
    const missing = this.#splice?.missing(source) ?? 0;
    if (missing === 0) return end();
    this.#late.add(source);
    const done = (act: () => void) => () => {
      this.#late.delete(source);
      act();
    };
    readLate(source, missing, { deliver, end: done(end), fail: done(fail) });
  }

  /** Nothing that went past the proxy is still between sockets of proxies. */
  get isDrained(): boolean {
    return this.#splice?.isDrained ?? true;
  }

  /** The connection is over. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#flow) {
      const { carried, reason } = this.#flow.end();
      this.#carried = carried;
      this.#reason = reason;
    }
    if (this.#splice) {
      const { carried, reason } = this.#splice.end();
      this.#spliced = carried;
      const isGivenBack = this.#splice.isJoined && (reason === "stream" || reason === "slow-reader");
      if (!this.#flow || isGivenBack) this.#reason = reason;
    }
  }

  record(): AccelerationRecord {
    const { past, legs } = this.#look();
    return {
      sent: pathOf(this.#to(past), this.#to(this.#spliced), this.#to(legs)),
      received: pathOf(this.#from(past), this.#from(this.#spliced), this.#from(legs)),
      reason: this.#ended ? this.#reason : (this.#flow?.reason() ?? this.#reason),
    };
  }

  /** What is said to `socket` now would overtake bytes; an end in order would leave some behind. */
  #isHeldBack(socket: Socket, isReset: boolean): boolean {
    if (this.#flow?.hasUnread(this.#endOf(socket))) return true;
    if (isReset || !this.#splice) return false;
    // Node closes a socket when both halves have ended, and what it has not read is lost.
    return this.#late.has(socket) || !this.#splice.isSettled(socket);
  }

  /** Of these, bytes from the downstream. */
  #from({ fromApplication, toApplication }: CarriedPast): number {
    return this.#direction === "outbound" ? fromApplication : toApplication;
  }

  #to({ fromApplication, toApplication }: CarriedPast): number {
    return this.#direction === "outbound" ? toApplication : fromApplication;
  }

  #endOf(socket: Socket): ProxyEnd {
    return socket === this.#near ? "near" : "outer";
  }

  #look(): Carried {
    if (this.#ended) return this.#carried;
    if (this.#flow) this.#carried = this.#flow.carried();
    if (this.#splice) this.#spliced = this.#splice.carried();
    return this.#carried;
  }
}

function pathOf(past: number, spliced: number, byLegs: number): DataPath {
  if (past > 0) return "direct";
  if (spliced > 0) return "splice";
  return byLegs > 0 ? "leg" : "copy";
}

/** The ways past the proxy that a listener knows. */
interface Paths {
  readonly accelerator?: Accelerator | undefined;
  readonly splicer?: Splicer | undefined;
}

function endsOf(socket: Socket): SocketEnds {
  const { localAddress = "", localPort = 0, remoteAddress = "", remotePort = 0 } = socket;
  return {
    local: { address: unmapAddress(localAddress), port: localPort },
    remote: { address: unmapAddress(remoteAddress), port: remotePort },
  };
}
