// SPDX-License-Identifier: Apache-2.0
// Hot: one object for each connection.
import type { Socket } from "node:net";

import { loadAddon } from "../native/load-addon.ts";
import type { NativeCarrier } from "../native/native-carrier.ts";
import { errnoName } from "../native/status.ts";
import type { ConnectFailure, ConnectRequest } from "./connect-request.ts";
import { type Endpoint, unmapAddress } from "./endpoint.ts";
import { TakenSocket } from "./taken-socket.ts";
import type { UpstreamRoutes } from "./upstream-routes.ts";

export const DOWNSTREAM = 0;
export const UPSTREAM = 1;
export type Side = typeof DOWNSTREAM | typeof UPSTREAM;

/** Who looks after a connection; each of these may release it. */
export interface CarriedOwner {
  onConnected(): void;
  onConnectFailed(failure: ConnectFailure): void;
  /** Nothing more happens to the connection until it is released. */
  onFailed(side: Side, errnoName: string): void;
  /** A watched connection has shown that it is more than a question and an answer: it may be taken. */
  onLasting(): void;
  /** Both sides have ended and are closed, after so many bytes. */
  onFinished(fromDownstream: number, fromUpstream: number): void;
}

/** What a connection has carried so far. */
export interface Carriage {
  readonly fromDownstream: number;
  readonly fromUpstream: number;
  /** Since bytes last moved. */
  readonly idleMs: number;
  /** Everything read so far is with the kernel. */
  readonly isFlushed: boolean;
}

/** A connection that the carrier has given away: both sockets are established and half-open. */
export interface TakenConnection {
  readonly downstream: Socket;
  readonly upstream: Socket;
  /** Bytes that it had carried until then. */
  readonly fromDownstream: number;
  readonly fromUpstream: number;
}

/** A connection that the carrier holds, from accept to release. */
export class Carried {
  readonly #native: NativeCarrier;
  readonly #number: number;
  readonly #owners: (CarriedOwner | undefined)[];

  constructor(native: NativeCarrier, number: number, owners: (CarriedOwner | undefined)[]) {
    this.#native = native;
    this.#number = number;
    this.#owners = owners;
  }

  /** The owner hears of the connection from now on. */
  attach(owner: CarriedOwner): void {
    this.#owners[this.#number] = owner;
  }

  /**
   * Connects without blocking. True: established already; else the owner is told. There is no timeout: release.
   * `note` is the answer of `beforeConnect`.
   */
  connect(
    routes: UpstreamRoutes,
    request: ConnectRequest,
    note: (noted: Disposable) => void,
  ): boolean | ConnectFailure {
    const { address, port, source, beforeConnect } = request;
    const bindTo = source?.transparent ? source.address : undefined;
    const fd = this.#native.open(this.#number, routes.of(request), bindTo);
    if (fd < 0) return { syscall: "socket", errnoName: errnoName(fd) };
    const local = beforeConnect && localEnd(fd);
    if (local) note(beforeConnect(local, { address, port }));
    const status = this.#native.connect(this.#number, address, port);
    return status < 0 ? { syscall: "connect", errnoName: errnoName(status) } : status === 1;
  }

  /** Carries bytes from now on. */
  start(): void {
    this.#native.start(this.#number);
  }

  /** Asks for `onLasting`: at the second exchange, or when one direction has carried so many bytes. */
  watch(oneWayBytes: number): void {
    this.#native.watch(this.#number, oneWayBytes);
  }

  /** Both sockets with all that is still to come; nothing of it waits here. Only in `onLasting`. */
  take(): TakenConnection {
    const { fromDownstream, fromUpstream } = this.look();
    const { downstream, upstream } = this.#native.take(this.#number);
    return {
      fromDownstream,
      fromUpstream,
      downstream: new TakenSocket(downstream, fromDownstream, fromUpstream),
      upstream: new TakenSocket(upstream, fromUpstream, fromDownstream),
    };
  }

  /** Closes both sides by FIN. */
  finish(): void {
    this.#native.finish(this.#number);
  }

  look(): Carriage {
    return this.#native.look(this.#number);
  }

  /** The idle time counts anew. */
  touch(): void {
    this.#native.touch(this.#number);
  }

  /** Closes by RST what is open; nothing else may be called after it. */
  release(): void {
    this.#owners[this.#number] = undefined;
    this.#native.release(this.#number);
  }
}

function localEnd(fd: number): Endpoint | undefined {
  const local = loadAddon().localAddress(fd);
  return typeof local === "number" ? undefined : { address: unmapAddress(local.address), port: local.port };
}
