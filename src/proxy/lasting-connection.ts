// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import type { TakenConnection } from "../net/carried.ts";
import { closeInOrder, resetSocket } from "../net/reset-socket.ts";
import type { AccelerationRecord } from "./acceleration.ts";
import { ConnectionAcceleration } from "./connection-acceleration.ts";
import type { ConnectionFacts } from "./connection-facts.ts";
import type { Outcome } from "./connection-record.ts";
import type { ConnectionHost, LiveConnection } from "./live-connection.ts";
import type { OriginalDestination } from "./original-destination.ts";
import type { ListenerSettings } from "./proxy-listener.ts";
import { Pump, type PumpOwner } from "./pump.ts";
import { WheelTimer } from "./timer-wheel.ts";

/**
 * A connection that has shown that it lasts, and may go past the proxy: taken from the addon, and carried by this thread,
 * which can look at the sockets between any two chunks. To its record.
 */
export class LastingConnection implements PumpOwner, LiveConnection {
  readonly #facts: ConnectionFacts;
  readonly #host: ConnectionHost;
  readonly #settings: ListenerSettings;
  readonly #downstream: Socket;
  readonly #upstream: Socket;
  readonly #timer: WheelTimer;
  readonly #toUpstream: Pump;
  readonly #toDownstream: Pump;
  readonly #acceleration: ConnectionAcceleration;
  #openSockets = 2;
  #downstreamHalves = 2;
  #upstreamHalves = 2;
  #lastActive = 0;
  /** The first cause counts; what follows from it does not. */
  #outcome: Outcome | undefined;
  #detail = "";

  constructor(
    facts: ConnectionFacts,
    destination: OriginalDestination,
    { downstream, upstream, fromDownstream, fromUpstream }: TakenConnection,
    settings: ListenerSettings,
    host: ConnectionHost,
  ) {
    this.#facts = facts;
    this.#host = host;
    this.#settings = settings;
    this.#downstream = downstream;
    this.#upstream = upstream;
    this.#timer = new WheelTimer(() => this.#onTimer());
    const { direction } = facts.listener;
    this.#acceleration = new ConnectionAcceleration(facts.listener, direction, downstream, upstream, destination);
    this.#toUpstream = new Pump(downstream, upstream, this, fromDownstream);
    this.#toDownstream = new Pump(upstream, downstream, this, fromUpstream);
  }

  get id(): string {
    return this.#facts.id;
  }

  start(): void {
    for (const socket of [this.#downstream, this.#upstream]) socket.on("close", this.#onClose);
    this.#downstream.on("error", this.#onDownstreamError);
    this.#upstream.on("error", this.#onUpstreamError);
    this.touch();
    this.#armIdle(this.#settings.idleTimeoutMs);
    this.#toUpstream.start();
    this.#toDownstream.start();
  }

  /** Ends the connection now, by RST. */
  abort(outcome: Outcome, detail: string): void {
    this.#fail(outcome, detail);
  }

  /** The idle timeout has changed. */
  rearm(): void {
    if (this.#outcome) return;
    this.#lastActive = this.#host.wheel.time;
    this.#armIdle(this.#settings.idleTimeoutMs);
  }

  touch(): void {
    this.#lastActive = this.#host.wheel.time;
  }

  /** The moment at which an application has least unread: what has just come is not written yet. */
  onChunk(): void {
    this.touch();
    this.#acceleration.touch(this.#toUpstream.bytes, this.#toDownstream.bytes);
  }

  whenEndable(socket: Socket, end: () => void): void {
    this.#acceleration.whenRead(socket, end, false);
  }

  whenAllRead(source: Socket, deliver: (chunk: Buffer) => void, end: () => void): void {
    this.#acceleration.readRest(source, deliver, end, () => this.onReset(source, "bytes did not come"));
  }

  takeRest(source: Socket): Buffer | undefined {
    return this.#acceleration.takeRest(source);
  }

  onReset(source: Socket, errnoName: string): void {
    this.#fail(source === this.#downstream ? "reset-by-downstream" : "reset-by-upstream", errnoName);
  }

  /** Both sockets reset on close until their data is safe with the kernel; see ActiveListener.listen. */
  onHalfDone(socket: Socket): void {
    const left = socket === this.#downstream ? --this.#downstreamHalves : --this.#upstreamHalves;
    if (left === 0) closeInOrder(socket);
  }

  /** Read from the downstream. */
  get bytesReceived(): number {
    return this.#toUpstream.bytes + this.#acceleration.received;
  }

  /** Read from the upstream, and written downstream but for what is still queued. */
  get bytesSent(): number {
    return this.#toDownstream.bytes + this.#acceleration.sent;
  }

  /** How bytes go; absent where acceleration is off. */
  get acceleration(): AccelerationRecord {
    return this.#acceleration.record();
  }

  #armIdle(delayMs: number): void {
    if (this.#settings.idleTimeoutMs > 0) this.#host.wheel.set(this.#timer, delayMs);
    else this.#host.wheel.clear(this.#timer);
  }

  #onTimer(): void {
    const { idleTimeoutMs } = this.#settings;
    // Chunks do not move the timer, they only note the time.
    const leftMs = this.#lastActive + idleTimeoutMs - this.#host.wheel.time;
    if (idleTimeoutMs === 0 || leftMs > 0) return this.#armIdle(leftMs);
    if (this.#acceleration.hasMoved()) return this.rearm();
    const detail = `idle for ${idleTimeoutMs} ms`;
    const isFlushed = this.#toUpstream.isFlushed && this.#toDownstream.isFlushed;
    if (!isFlushed || !this.#acceleration.isDrained) return this.#fail("timeout", detail);
    // Nothing is lost, so FIN will do: a pool of idle connections takes it for what it is.
    this.#settle("timeout", detail);
    closeInOrder(this.#downstream);
    closeInOrder(this.#upstream);
    this.#downstream.destroy();
    this.#upstream.destroy();
  }

  #onDownstreamError = (error: NodeJS.ErrnoException): void => {
    this.#fail("reset-by-downstream", error.code ?? error.message);
  };

  #onUpstreamError = (error: NodeJS.ErrnoException): void => {
    this.#fail("reset-by-upstream", error.code ?? error.message);
  };

  #onClose = (): void => {
    if (--this.#openSockets > 0) return;
    this.#host.wheel.clear(this.#timer);
    this.#settle("closed", "");
    this.#acceleration.end();
    this.#host.ended(
      this,
      this.#facts.record({
        bytesSent: this.bytesSent,
        bytesReceived: this.bytesReceived,
        durationMs: Math.round(this.#host.now() - this.#facts.acceptedAt),
        outcome: this.#outcome ?? "closed",
        detail: this.#detail,
        acceleration: this.acceleration,
      }),
    );
  };

  /** Ends whatever is there by RST; the record follows when the sockets are closed. */
  #fail(outcome: Outcome, detail: string): void {
    this.#settle(outcome, detail);
    this.#reset(this.#upstream);
    this.#reset(this.#downstream);
  }

  #reset(socket: Socket): void {
    socket.pause();
    this.#acceleration.whenRead(socket, () => resetSocket(socket), true);
  }

  #settle(outcome: Outcome, detail: string): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    this.#detail = detail;
  }
}
