// SPDX-License-Identifier: Apache-2.0
import type { FlowState } from "../../accelerate/advance-request.ts";
import type { FlowAsker, FlowDriver, SocketReader } from "../../accelerate/flow-driver.ts";
import type { SocketEnds } from "../../accelerate/socket-ends.ts";
import type { AccelSide } from "../../bpf/generated/types.ts";
import type { CarriedPast } from "../../proxy/acceleration.ts";

export const NOTHING: CarriedPast = { fromApplication: 0, toApplication: 0 };

/** The other end may have no proxy of ours, and then nothing ever comes of it: so seldom is it tried in the end. */
const LONGEST_PAUSE = 256;
/** Who has a proxy of ours has spoken by then: chunks of a stream come faster than the other worker is heard. */
const PATIENT_TRIES = 3;
const PATIENT_MS = 50;

export interface DrivenFlowSettings {
  /** Of the connection whose application's socket is asked for. */
  readonly side: AccelSide;
  /** As the application's socket may look; the first one that there is is it. */
  readonly candidates: readonly SocketEnds[];
  /** See FlowAsker. */
  readonly own: SocketEnds;
  readonly asker: FlowAsker;
  /** See ReadSocket. */
  readonly servicePort: number;
}

/** One connection from application to application, as its proxy sees it. */
export interface DirectFlow {
  /** Bytes came through the proxy: goes as far as the sockets allow. */
  advance(): void;
  readonly wasEnrolled: boolean;
  /** Nothing will come of it, or nothing that is worth waiting for. */
  readonly isHopeless: boolean;
  carried(): CarriedPast;
  /** The application before this proxy has redirected bytes to read. */
  hasUnread(): boolean;
  /** The one behind it has; of connections whose other end has a proxy of its own, that one looks. */
  othersHasUnread(): boolean;
  /** What keeps bytes of either direction from this way. */
  reason(): string;
  /** Once: another way is taken, or the connection is over. */
  leave(): void;
}

/** One application's socket on its way into a flow of the kernel's programs, and what it carries there. */
export class DrivenFlow implements DirectFlow {
  readonly #settings: DrivenFlowSettings;
  readonly #driver: FlowDriver;
  #reader: SocketReader | undefined;
  #app: SocketEnds | undefined;
  #last: FlowState | undefined;
  /** Calls of `advance` to let pass: twice as many after each that came to nothing. */
  #pause = 1;
  #waiting = 0;
  #tries = 0;
  #firstTryMs = 0;
  #wasEnrolled = false;
  #done = false;

  constructor(settings: DrivenFlowSettings, driver: FlowDriver) {
    this.#settings = settings;
    this.#driver = driver;
  }

  advance(): void {
    if (this.#done || this.#waiting-- > 0) return;
    const before = this.#last?.state;
    const { state } = this.#findReader(this.#ask());
    if (state === before) this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    this.#waiting = this.#pause - 1;
    if (this.#tries++ === 0) this.#firstTryMs = performance.now();
    this.#wasEnrolled ||= state === "enrolled";
    this.#done = state === "enrolled" || state === "never";
  }

  /** The other end has just come far enough for this one. */
  hurry(): void {
    this.#waiting = 0;
    this.advance();
  }

  get wasEnrolled(): boolean {
    return this.#wasEnrolled;
  }

  get isHopeless(): boolean {
    if (!this.#last || this.#wasEnrolled) return false;
    const { state, peerState, reason } = this.#last;
    if (state === "never" || peerState === "never") return true;
    if (reason !== "peer-unknown" || peerState !== "unknown" || this.#tries < PATIENT_TRIES) return false;
    return performance.now() - this.#firstTryMs >= PATIENT_MS;
  }

  carried(): CarriedPast {
    const ends = this.#ends();
    if (!ends) return NOTHING;
    const [client = 0n, server = 0n] = ends.map(({ redirectedBytes }) => redirectedBytes);
    const [own, other] = this.#settings.side === "client" ? [client, server] : [server, client];
    return { fromApplication: Number(own), toApplication: Number(other) };
  }

  hasUnread(): boolean {
    // Nothing was redirected to a socket that was never enrolled; with flow 0 the question would make one.
    return this.#wasEnrolled && this.#last?.flow !== 0n && this.#ask().hasUnread;
  }

  /** Nothing more is redirected to this socket. */
  close(): void {
    const flow = this.#last?.flow ?? 0n;
    if (flow !== 0n) this.#driver.refuse(this.#settings.side, flow, "switched-off");
    this.#done = true;
  }

  othersHasUnread(): boolean {
    return false;
  }

  reason(): string {
    const ends = this.#wasEnrolled ? this.#ends() : undefined;
    const [own, other] = this.#settings.side === "client" ? [ends?.[0], ends?.[1]] : [ends?.[1], ends?.[0]];
    const found = own?.reason ?? this.#last?.reason ?? "short";
    return found === "none" ? (other?.reason ?? found) : found;
  }

  leave(): void {
    if (this.#last === undefined || this.#last.flow === 0n) return;
    const { flow, state } = this.#last;
    const { side, asker } = this.#settings;
    // Whoever comes later must not wait for this end.
    if (!this.#done && state !== "unknown") this.#driver.refuse(side, flow, "peer-unknown");
    asker.leave(side, flow);
    this.#last = { ...this.#last, flow: 0n };
    this.#done = true;
  }

  #ends() {
    const flow = this.#last?.flow ?? 0n;
    return flow === 0n ? undefined : this.#driver.counts(flow)?.ends;
  }

  /** Where nothing but its unknown reader keeps the socket out of the map. */
  #findReader(answer: FlowState): FlowState {
    if (answer.reason !== "reader-unknown") return answer;
    const { side, servicePort, asker } = this.#settings;
    const verdict = this.#driver.judgeReader(answer, servicePort);
    const reason = verdict.allowed ? asker.policyOn(verdict.pid) : verdict.reason;
    if (verdict.allowed && reason === undefined) {
      this.#reader = { inode: answer.inode, pid: verdict.pid };
      return this.#ask();
    }
    const refused = this.#driver.refuse(side, answer.flow, reason ?? "reader-unknown");
    this.#last = refused;
    return refused;
  }

  #ask(): FlowState {
    const [first, second] = this.#app === undefined ? this.#settings.candidates : [this.#app];
    let answer = this.#askFor(first);
    if (answer.reason === "not-found" && second) {
      answer = this.#askFor(second);
      this.#app = second;
    } else {
      this.#app = first;
    }
    this.#last = answer;
    return answer;
  }

  #askFor(app: SocketEnds | undefined): FlowState {
    if (!app) throw new TypeError("a connection has two ends");
    const { side, own, asker } = this.#settings;
    return asker.ask(side, app, own, this.#last?.flow ?? 0n, this.#reader);
  }
}
