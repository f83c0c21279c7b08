// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "../net/endpoint.ts";
import type { CarriedPast, SocketEnds } from "./acceleration.ts";

/** One of a connection's two sockets: towards the application, and the other one. */
export type LegName = "near" | "outer";

/** A socket of the proxy while nothing of it waits in this process. */
export interface OwnSocket {
  readonly ends: SocketEnds;
  readonly fd: number;
  /** Bytes read from it. */
  readonly read: number;
  /** Bytes that the kernel has been given to send. */
  readonly written: number;
}

/** What the kernel says of a leg that nobody reads. */
export interface LegLook {
  /** What comes to it goes on to the other leg, past the proxy. */
  readonly isArmed: boolean;
  /** All that has gone past the proxy is with the other leg's socket. */
  readonly isDrained: boolean;
  /** Nothing waits in the kernel to be sent by its socket, or to be readable there. */
  readonly isSettled: boolean;
}

/** One connection whose sockets may be spliced to each other, or to those of the next proxy. */
export interface SplicedFlow {
  /**
   * The legs that can be armed; "later": ask again as bytes come; "never". With the other end's proxy alone, unless
   * `mayBeAlone`.
   */
  join(near: OwnSocket, outer: OwnSocket, mayBeAlone: boolean): "later" | "never" | readonly LegName[];
  /** There is no proxy at the other end that takes part. */
  readonly hasNoPair: boolean;
  /** The leg's socket is not being read, and `read` bytes of it have been. Unless the answer says armed, it has to be. */
  arm(leg: LegName, read: number): LegLook;
  look(leg: LegName, read: number): LegLook;
  /** Until it is disposed of: `onWake` when `look` may say something new. Only of armed legs. */
  watch(leg: LegName, fd: number, onWake: () => void): Disposable;
  /** Bytes modulo 2^32 that came to the leg's socket, and how many of them went past the proxy; undefined: no leg. */
  arrived(leg: LegName): { readonly seen: number; readonly redirected: number } | undefined;
  carried(): CarriedPast;
  /** Once, when the connection is over. `reason`: why bytes were copied; `none` where nothing was in the way. */
  end(): { readonly carried: CarriedPast; readonly reason: string };
}

/** Implemented by whoever composes the proxy with the kernel's means. */
export interface Splicer {
  /** Undefined where the connection is to be copied. */
  open(destination: Endpoint): SplicedFlow | undefined;
}
