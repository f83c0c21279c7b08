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

/** Bytes that did not go through the proxy. */
export interface CarriedPast {
  readonly fromApplication: number;
  readonly toApplication: number;
}

/** One connection whose application's socket may hand its bytes to another one, past the proxy. */
export interface AcceleratedFlow {
  /** Bytes came through the proxy: tries what is left to try. Cheap once nothing is. */
  advance(): void;
  carried(): CarriedPast;
  /** The application has bytes to read that came past the proxy: what the proxy says now would overtake them. */
  hasUnread(): boolean;
  /** Once, when the connection is over. */
  end(): { readonly carried: CarriedPast; readonly reason: string };
}

/** Implemented by whoever composes the proxy with the kernel's means. */
export interface Accelerator {
  /**
   * `near`: the proxy's socket towards the application, whose own socket is its mirror image; `outer`: the one
   * towards the other proxy. Undefined where the connection is to be copied; the reason is in the record then.
   */
  open(near: SocketEnds, outer: SocketEnds, destination: Endpoint): AcceleratedFlow | string;
}
