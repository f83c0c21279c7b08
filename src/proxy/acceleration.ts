// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "../net/endpoint.ts";

/** How bytes of one direction have gone: past the proxies, or copied by them. The fastest that was taken counts. */
export type DataPath = "direct" | "leg" | "splice" | "copy";

/** What a record tells. */
export interface AccelerationRecord {
  /** Of the bytes to the downstream. */
  readonly sent: DataPath;
  /** Of the bytes from the downstream. */
  readonly received: DataPath;
  /** Why it is not faster; `none` where nothing was in the way. */
  readonly reason: string;
}

/** A socket of the proxy by its two ends. */
export interface SocketEnds {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** Which of the proxy's two sockets: the one towards its application, or the one towards the other end. */
export type ProxyEnd = "near" | "outer";

/** Bytes that did not go through the proxy. */
export interface CarriedPast {
  readonly fromApplication: number;
  readonly toApplication: number;
}

export interface Carried {
  readonly past: CarriedPast;
  /** Bytes that the proxy copied, but that did not come to it, or did not leave it, by TCP. */
  readonly legs: CarriedPast;
}

/** One connection whose application's socket may hand its bytes to another one's, or to the proxy's own, past TCP. */
export interface AcceleratedFlow {
  /**
   * Bytes came through the proxy: tries what is left to try, legs where they may be taken. Cheap once nothing is. False:
   * nothing is to be hoped for but legs, or not even those.
   */
  advance(takesLegs: boolean): boolean;
  /** Nothing goes past TCP, and nothing will. */
  readonly isOver: boolean;
  carried(): Carried;
  /** What keeps bytes from a faster way; "none" where nothing does. */
  reason(): string;
  /** Whoever is at that end has bytes to read that did not come by TCP: what the proxy says now would overtake them. */
  hasUnread(end: ProxyEnd): boolean;
  /** Bytes from that end may come to the proxy's socket by two ways. */
  hasLeg(end: ProxyEnd): boolean;
  /** Once, when the connection is over. */
  end(): { readonly carried: Carried; readonly reason: string };
}

/** Implemented by whoever composes the proxy with the kernel's means. */
export interface Accelerator {
  /**
   * `near`: the proxy's socket towards the application, whose own socket is its mirror image; `outer`: the one
   * towards the other proxy.
   */
  open(near: SocketEnds, outer: SocketEnds, destination: Endpoint): AcceleratedFlow;
  /** Why connections to there are to be copied, as the record tells it. */
  refuses(destination: Endpoint): string | undefined;
}
