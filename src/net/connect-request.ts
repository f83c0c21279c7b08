// SPDX-License-Identifier: Apache-2.0
import type { Endpoint } from "./endpoint.ts";

/** Address to connect from; the kernel chooses the port. */
export interface ConnectSource {
  readonly address: string;
  /** The address need not be of this host (IP_TRANSPARENT and IP_FREEBIND); needs CAP_NET_ADMIN. */
  readonly transparent: boolean;
}

export interface ConnectRequest extends Endpoint {
  /** Absent: the kernel chooses the address too. */
  readonly source?: ConnectSource | undefined;
  /**
   * Called between bind and connect, so before a SYN can leave; the result is disposed of when the attempt has
   * ended, whichever way.
   */
  readonly beforeConnect?: ((local: Endpoint, remote: Endpoint) => Disposable) | undefined;
}

/** Why no connection came about. */
export interface ConnectFailure {
  readonly syscall: "socket" | "connect";
  /** `ECONNREFUSED` and the like. */
  readonly errnoName: string;
}
