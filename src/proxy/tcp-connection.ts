// SPDX-License-Identifier: Apache-2.0
// Hot: one object per connection; what runs per chunk is in pump.ts.
import type { Socket } from "node:net";
import {
  type ConnectAttempt,
  type ConnectFailure,
  type ConnectObserver,
  connect,
  isConnectFailure,
} from "../net/connector.ts";
import { type Endpoint, formatEndpoint, unmapAddress } from "../net/endpoint.ts";
import { closeInOrder, resetSocket } from "../net/reset-socket.ts";
import { socketFd } from "../net/socket-fd.ts";
import type { AccelerationRecord } from "./acceleration.ts";
import { planConnect, wouldLoop } from "./connect-plan.ts";
import { ConnectionAcceleration } from "./connection-acceleration.ts";
import type { ConnectionRecord, Outcome } from "./connection-record.ts";
import type { OpenConnection } from "./open-connection.ts";
import type { OriginalDestination } from "./original-destination.ts";
import type { ListenerSettings, ProxyListener } from "./proxy-listener.ts";
import { Pump, type PumpOwner } from "./pump.ts";
import { type TimerWheel, WheelTimer } from "./timer-wheel.ts";

/** What a connection needs of the runtime that carries it. */
export interface ConnectionHost {
  readonly wheel: TimerWheel;
  /** Milliseconds since the epoch that never go back. */
  now(): number;
  opened(connection: TcpConnection): void;
  /** Both sockets are closed; called once, also for connections that were never opened. */
  ended(connection: TcpConnection, record: ConnectionRecord): void;
}

const UNKNOWN_DESTINATION = "the original destination is not known";

/** From accept to the record: looks up where a connection was meant to go, connects there, carries bytes both ways. */
export class TcpConnection implements PumpOwner, ConnectObserver {
  readonly id: string;
  readonly #host: ConnectionHost;
  readonly #listener: ProxyListener;
  readonly #settings: ListenerSettings;
  readonly #downstream: Socket;
  readonly #acceptedAt: number;
  readonly #timer: WheelTimer;
  #remote: Endpoint | undefined;
  #original: OriginalDestination | undefined;
  #attempt: ConnectAttempt | undefined;
  #upstream: Socket | undefined;
  #toUpstream: Pump | undefined;
  #toDownstream: Pump | undefined;
  #acceleration: ConnectionAcceleration | undefined;
  #openSockets = 1;
  #downstreamHalves = 2;
  #upstreamHalves = 2;
  #lastActive = 0;
  /** The first cause counts; what follows from it does not. */
  #outcome: Outcome | undefined;
  #detail = "";

  constructor(
    id: string,
    downstream: Socket,
    listener: ProxyListener,
    settings: ListenerSettings,
    host: ConnectionHost,
  ) {
    this.id = id;
    this.#host = host;
    this.#listener = listener;
    this.#settings = settings;
    this.#downstream = downstream;
    this.#acceptedAt = host.now();
    this.#timer = new WheelTimer(() => this.#onTimer());
  }

  /** `downstream` is paused. Nothing is thrown; whatever goes wrong is in the record. */
  start(): void {
    const downstream = this.#downstream;
    downstream.on("error", this.#onDownstreamError);
    downstream.on("close", this.#onClose);
    try {
      this.#connect();
    } catch (error) {
      this.#fail("refused", String(error));
    }
  }

  /** Ends the connection now, by RST. */
  abort(outcome: Outcome, detail: string): void {
    this.#fail(outcome, detail);
  }

  /** The idle timeout has changed. */
  rearm(): void {
    if (!this.#upstream || this.#outcome) return;
    this.#lastActive = this.#host.wheel.time;
    this.#armIdle(this.#settings.idleTimeoutMs);
  }

  touch(): void {
    this.#lastActive = this.#host.wheel.time;
  }

  /** The moment at which an application has least unread: what has just come is not written yet. */
  onChunk(): void {
    this.touch();
    this.#acceleration?.touch(this.#toUpstream?.bytes ?? 0, this.#toDownstream?.bytes ?? 0);
  }

  whenEndable(socket: Socket, end: () => void): void {
    if (this.#acceleration) this.#acceleration.whenRead(socket, end, false);
    else end();
  }

  whenAllRead(source: Socket, deliver: (chunk: Buffer) => void, end: () => void): void {
    if (!this.#acceleration) return end();
    this.#acceleration.readRest(source, deliver, end, () => this.onReset(source, "bytes did not come"));
  }

  takeRest(source: Socket): Buffer | undefined {
    return this.#acceleration?.takeRest(source);
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
    return (this.#toUpstream?.bytes ?? 0) + (this.#acceleration?.received ?? 0);
  }

  /** Read from the upstream, and written downstream but for what is still queued. */
  get bytesSent(): number {
    return (this.#toDownstream?.bytes ?? 0) + (this.#acceleration?.sent ?? 0);
  }

  /** How bytes go; absent where acceleration is off. */
  get acceleration(): AccelerationRecord | undefined {
    return this.#acceleration?.record();
  }

  describe(): OpenConnection {
    const destination = this.#original ? formatEndpoint(this.#original) : "";
    return {
      id: this.id,
      time: new Date(this.#acceptedAt).toISOString(),
      listener: this.#listener.name,
      workload: this.#listener.workload,
      direction: this.#listener.direction,
      source: this.#source(),
      originalDestination: destination,
      upstream: destination,
      interception: this.#interception(),
    };
  }

  #connect(): void {
    const { remoteAddress, remotePort, localAddress = "", localPort = 0 } = this.#downstream;
    if (remoteAddress === undefined || remotePort === undefined) {
      // getpeername fails on a connection that was reset while it waited to be accepted.
      return this.#fail("reset-by-downstream", "reset before it was accepted");
    }
    const remote = { address: unmapAddress(remoteAddress), port: remotePort };
    const local = { address: unmapAddress(localAddress), port: localPort };
    this.#remote = remote;
    const original = this.#listener.lookup({ fd: socketFd(this.#downstream), local, remote });
    if (original === undefined) return this.#fail("refused", UNKNOWN_DESTINATION);
    this.#original = original;
    if (wouldLoop(this.#listener.ownPorts, original, local, remote)) {
      return this.#fail("refused", `port ${original.port} is the proxy's own`);
    }
    this.#host.opened(this);
    const result = connect(planConnect(this.#listener, remote, original), this);
    if (isConnectFailure(result)) return this.onConnectFailed(result);
    this.#attempt = result;
    this.#host.wheel.set(this.#timer, this.#settings.connectTimeoutMs);
    // Fills the stream's buffer and stops there: a client that resets is noticed while we connect. (Not one that
    // also sent data; for that one see takeSocketError.)
    this.#downstream.read(0);
  }

  onConnected(upstream: Socket): void {
    this.#attempt = undefined;
    this.#upstream = upstream;
    this.#openSockets++;
    upstream.on("error", this.#onUpstreamError);
    upstream.on("close", this.#onClose);
    this.#acceleration = this.#accelerate(upstream);
    this.#toUpstream = new Pump(this.#downstream, upstream, this);
    this.#toDownstream = new Pump(upstream, this.#downstream, this);
    this.#host.wheel.clear(this.#timer);
    this.touch();
    this.#armIdle(this.#settings.idleTimeoutMs);
    this.#toUpstream.start();
    this.#toDownstream.start();
  }

  #accelerate(upstream: Socket): ConnectionAcceleration | undefined {
    const { accelerator, splicer, direction } = this.#listener;
    if (!(accelerator || splicer) || !this.#original) return undefined;
    return new ConnectionAcceleration(this.#listener, direction, this.#downstream, upstream, this.#original);
  }

  onConnectFailed(failure: ConnectFailure): void {
    this.#attempt = undefined;
    // Established, and reset before we could look.
    if (failure.errnoName === "ECONNRESET") return this.#fail("reset-by-upstream", failure.errnoName);
    this.#fail("connect-failed", `${failure.syscall}: ${failure.errnoName}`);
  }

  #armIdle(delayMs: number): void {
    if (this.#settings.idleTimeoutMs > 0) this.#host.wheel.set(this.#timer, delayMs);
    else this.#host.wheel.clear(this.#timer);
  }

  #onTimer(): void {
    if (!this.#upstream) return this.#fail("timeout", `no connection within ${this.#settings.connectTimeoutMs} ms`);
    const { idleTimeoutMs } = this.#settings;
    // Chunks do not move the timer, they only note the time.
    const leftMs = this.#lastActive + idleTimeoutMs - this.#host.wheel.time;
    if (idleTimeoutMs === 0 || leftMs > 0) return this.#armIdle(leftMs);
    if (this.#acceleration?.hasMoved()) return this.rearm();
    const detail = `idle for ${idleTimeoutMs} ms`;
    const isFlushed = this.#toUpstream?.isFlushed && this.#toDownstream?.isFlushed;
    if (!isFlushed || this.#acceleration?.isDrained === false) return this.#fail("timeout", detail);
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
    this.#acceleration?.end();
    this.#host.ended(this, this.#record());
  };

  /** Ends whatever is there by RST; the record follows when the sockets are closed. */
  #fail(outcome: Outcome, detail: string): void {
    this.#settle(outcome, detail);
    this.#attempt?.cancel();
    this.#attempt = undefined;
    if (this.#upstream) this.#reset(this.#upstream);
    this.#reset(this.#downstream);
  }

  #reset(socket: Socket): void {
    if (!this.#acceleration) return resetSocket(socket);
    socket.pause();
    this.#acceleration.whenRead(socket, () => resetSocket(socket), true);
  }

  #settle(outcome: Outcome, detail: string): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    this.#detail = detail;
  }

  #record(): ConnectionRecord {
    const refused = this.#outcome === "refused";
    const destination = this.#original ? formatEndpoint(this.#original) : null;
    return {
      time: new Date(this.#acceptedAt).toISOString(),
      id: this.id,
      direction: this.#listener.direction,
      source: this.#source(),
      originalDestination: destination,
      upstream: refused ? null : destination,
      bytesSent: this.bytesSent,
      bytesReceived: this.bytesReceived,
      durationMs: Math.round(this.#host.now() - this.#acceptedAt),
      outcome: this.#outcome ?? "closed",
      detail: this.#detail,
      interception: this.#interception(),
      workload: this.#listener.workload,
      ...(this.#acceleration && { acceleration: this.#acceleration.record() }),
    };
  }

  #source(): string {
    return this.#remote ? formatEndpoint(this.#remote) : "unknown";
  }

  #interception(): string {
    return this.#original?.interception ?? this.#listener.interception;
  }
}
