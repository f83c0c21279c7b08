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
import type { Direction } from "./original-destination.ts";

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

  constructor(
    accelerator: Accelerator | undefined,
    direction: Direction,
    downstream: Socket,
    upstream: Socket,
    destination: Endpoint,
  ) {
    const [near, outer] = direction === "outbound" ? [downstream, upstream] : [upstream, downstream];
    this.#near = near;
    this.#direction = direction;
    const opened = accelerator?.open(endsOf(near), endsOf(outer), destination) ?? "off";
    this.#flow = typeof opened === "string" ? undefined : opened;
    this.#reason = typeof opened === "string" ? opened : "short";
  }

  /** Bytes came through the proxy; so many in all towards each side. */
  touch(toUpstream: number, toDownstream: number): void {
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
    this.#flow.advance();
  }

  /** Bytes have gone past the proxy since this was last asked. */
  hasMoved(): boolean {
    const { fromApplication, toApplication } = this.#carried.past;
    const now = this.#look().past;
    return now.fromApplication !== fromApplication || now.toApplication !== toApplication;
  }

  /** Bytes that went past the proxy, in the record's terms. */
  get received(): number {
    return this.#from(this.#look().past);
  }

  get sent(): number {
    return this.#to(this.#look().past);
  }

  /** What has come from `source` and was not read when its end was told; undefined where there is nothing. */
  takeRest(source: Socket): Buffer | undefined {
    return this.#flow?.hasLeg(this.#endOf(source)) ? readRest(source) : undefined;
  }

  /** Calls `act` when ending `socket` overtakes nothing: at once, or when the application has read. */
  whenRead(socket: Socket, act: () => void, isReset: boolean): void {
    const end = this.#endOf(socket);
    if (!this.#flow?.hasUnread(end)) return act();
    const deadline = performance.now() + RESET_PATIENCE_MS;
    const look = (delayMs: number): void => {
      if (socket.destroyed || !this.#flow?.hasUnread(end) || (isReset && performance.now() > deadline)) return act();
      setTimeout(look, delayMs, Math.min(2 * delayMs, LONGEST_LOOK_MS));
    };
    setTimeout(look, FIRST_LOOK_MS, FIRST_LOOK_MS);
  }

  /** The connection is over. */
  end(): void {
    if (this.#ended || !this.#flow) return;
    this.#ended = true;
    const { carried, reason } = this.#flow.end();
    this.#carried = carried;
    this.#reason = reason;
  }

  record(): AccelerationRecord {
    const { past, legs } = this.#look();
    return {
      sent: pathOf(this.#to(past), this.#to(legs)),
      received: pathOf(this.#from(past), this.#from(legs)),
      reason: this.#ended ? this.#reason : (this.#flow?.reason() ?? this.#reason),
    };
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
    if (!this.#ended && this.#flow) this.#carried = this.#flow.carried();
    return this.#carried;
  }
}

function pathOf(past: number, byLegs: number): DataPath {
  if (past > 0) return "direct";
  return byLegs > 0 ? "leg" : "copy";
}

function endsOf(socket: Socket): SocketEnds {
  const { localAddress = "", localPort = 0, remoteAddress = "", remotePort = 0 } = socket;
  return {
    local: { address: unmapAddress(localAddress), port: localPort },
    remote: { address: unmapAddress(remoteAddress), port: remotePort },
  };
}
