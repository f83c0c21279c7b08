// SPDX-License-Identifier: Apache-2.0
// Hot: one object per connection; its bytes are carried by the addon.
import { type Carried, type CarriedOwner, DOWNSTREAM, type Side } from "../net/carried.ts";
import type { ConnectFailure } from "../net/connect-request.ts";
import type { Endpoint } from "../net/endpoint.ts";
import type { UpstreamRoutes } from "../net/upstream-routes.ts";
import type { AccelerationRecord } from "./acceleration.ts";
import { planConnect, wouldLoop } from "./connect-plan.ts";
import { ConnectionFacts } from "./connection-facts.ts";
import type { Outcome } from "./connection-record.ts";
import { LastingConnection } from "./lasting-connection.ts";
import type { ConnectionHost, LiveConnection } from "./live-connection.ts";
import type { ListenerSettings, ProxyListener } from "./proxy-listener.ts";
import { WheelTimer } from "./timer-wheel.ts";

const UNKNOWN_DESTINATION = "the original destination is not known";
/** A stream that nobody answers is worth the trouble of acceleration from here on. */
const ONE_WAY_BYTES = 262_144;

/**
 * From accept to the record: looks up where a connection was meant to go, has it connected there and carried. One that
 * lasts and may go past the proxy becomes a LastingConnection.
 */
export class TcpConnection implements CarriedOwner, LiveConnection {
  readonly #facts: ConnectionFacts;
  readonly #host: ConnectionHost;
  readonly #settings: ListenerSettings;
  readonly #carried: Carried;
  readonly #timer: WheelTimer;
  #note: Disposable | undefined;
  #established = false;
  #bytesReceived = 0;
  #bytesSent = 0;
  #over = false;

  constructor(id: string, carried: Carried, listener: ProxyListener, settings: ListenerSettings, host: ConnectionHost) {
    this.#facts = new ConnectionFacts(id, listener, host.now());
    this.#host = host;
    this.#settings = settings;
    this.#carried = carried;
    this.#timer = new WheelTimer(() => this.#onTimer());
  }

  get id(): string {
    return this.#facts.id;
  }

  get bytesReceived(): number {
    this.#look();
    return this.#bytesReceived;
  }

  get bytesSent(): number {
    this.#look();
    return this.#bytesSent;
  }

  get acceleration(): AccelerationRecord | undefined {
    if (!this.#established) return undefined;
    const reason = this.#copiedBecause();
    return reason === undefined ? undefined : { sent: "copy", received: "copy", reason };
  }

  /** `fd` is the accepted socket's. Nothing is thrown; whatever goes wrong is in the record. */
  start(fd: number, local: Endpoint, remote: Endpoint | undefined, routes: UpstreamRoutes): void {
    this.#carried.attach(this);
    try {
      this.#connect(fd, local, remote, routes);
    } catch (error) {
      this.#end("refused", String(error));
    }
  }

  abort(outcome: Outcome, detail: string): void {
    this.#end(outcome, detail);
  }

  rearm(): void {
    if (!this.#established) return;
    this.#carried.touch();
    this.#armIdle(this.#settings.idleTimeoutMs);
  }

  onConnected(): void {
    this.#disposeOfNote();
    this.#established = true;
    const { accelerator, splicer } = this.#facts.listener;
    const { original } = this.#facts;
    const isRefused = original && accelerator?.refuses(original) !== undefined;
    if ((accelerator || splicer) && !isRefused) this.#carried.watch(ONE_WAY_BYTES);
    this.#armIdle(this.#settings.idleTimeoutMs);
    this.#carried.start();
  }

  onConnectFailed({ syscall, errnoName }: ConnectFailure): void {
    // Established, and reset before we could look.
    if (errnoName === "ECONNRESET") this.#end("reset-by-upstream", errnoName);
    else this.#end("connect-failed", `${syscall}: ${errnoName}`);
  }

  onFailed(side: Side, errnoName: string): void {
    this.#end(side === DOWNSTREAM ? "reset-by-downstream" : "reset-by-upstream", errnoName);
  }

  onLasting(): void {
    const { original } = this.#facts;
    if (!original) return;
    const taken = this.#carried.take();
    this.#over = true;
    this.#host.wheel.clear(this.#timer);
    this.#carried.release();
    const lasting = new LastingConnection(this.#facts, original, taken, this.#settings, this.#host);
    this.#host.replaced(this, lasting);
    lasting.start();
  }

  onFinished(fromDownstream: number, fromUpstream: number): void {
    this.#bytesReceived = fromDownstream;
    this.#bytesSent = fromUpstream;
    this.#finish("closed", "");
  }

  #connect(fd: number, local: Endpoint, remote: Endpoint | undefined, routes: UpstreamRoutes): void {
    if (remote === undefined) return this.#end("reset-by-downstream", "reset before it was accepted");
    const facts = this.#facts;
    const { listener } = facts;
    facts.remote = remote;
    const original = listener.lookup({ fd, local, remote });
    if (original === undefined) return this.#end("refused", UNKNOWN_DESTINATION);
    facts.original = original;
    if (wouldLoop(listener.ownPorts, original, local, remote)) {
      return this.#end("refused", `port ${original.port} is the proxy's own`);
    }
    this.#host.opened(this, facts.describe());
    const result = this.#carried.connect(routes, planConnect(listener, remote, original), this.#onNote);
    if (result === true) return this.onConnected();
    if (result !== false) return this.onConnectFailed(result);
    this.#host.wheel.set(this.#timer, this.#settings.connectTimeoutMs);
  }

  #copiedBecause(): string | undefined {
    const { listener, original } = this.#facts;
    if (listener.accelerator) return (original && listener.accelerator.refuses(original)) ?? "short";
    return listener.splicer && "none";
  }

  #onNote = (note: Disposable): void => {
    this.#note = note;
  };

  #disposeOfNote(): void {
    this.#note?.[Symbol.dispose]();
    this.#note = undefined;
  }

  #armIdle(delayMs: number): void {
    if (this.#settings.idleTimeoutMs > 0) this.#host.wheel.set(this.#timer, delayMs);
    else this.#host.wheel.clear(this.#timer);
  }

  #onTimer(): void {
    if (!this.#established) return this.#end("timeout", `no connection within ${this.#settings.connectTimeoutMs} ms`);
    const { idleTimeoutMs } = this.#settings;
    const { idleMs, isFlushed } = this.#carried.look();
    // Bytes do not move the timer, they only note the time.
    if (idleTimeoutMs === 0 || idleMs < idleTimeoutMs) return this.#armIdle(idleTimeoutMs - idleMs);
    // Where nothing is lost FIN will do: a pool of idle connections takes it for what it is.
    if (isFlushed) this.#carried.finish();
    this.#end("timeout", `idle for ${idleTimeoutMs} ms`);
  }

  /** Ends whatever is there by RST. */
  #end(outcome: Outcome, detail: string): void {
    if (this.#over) return;
    this.#look();
    this.#finish(outcome, detail);
  }

  #finish(outcome: Outcome, detail: string): void {
    this.#over = true;
    this.#disposeOfNote();
    this.#host.wheel.clear(this.#timer);
    this.#carried.release();
    const end = {
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      durationMs: Math.round(this.#host.now() - this.#facts.acceptedAt),
      outcome,
      detail,
      acceleration: this.acceleration,
    };
    this.#host.ended(this, this.#facts.record(end));
  }

  #look(): void {
    if (this.#over) return;
    const { fromDownstream, fromUpstream } = this.#carried.look();
    this.#bytesReceived = fromDownstream;
    this.#bytesSent = fromUpstream;
  }
}
