// SPDX-License-Identifier: Apache-2.0
import type { AccelerationRecord } from "./acceleration.ts";
import type { Direction } from "./original-destination.ts";

/** What a connection has carried, in the record's terms: bytes sent to the downstream, received from it. */
export interface ConnectionBytes {
  readonly id: string;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** How they went; absent where acceleration is off. */
  readonly acceleration?: AccelerationRecord | undefined;
}

/** A connection that the proxy has begun to carry; its record has the same id. */
export interface BegunConnection {
  readonly id: string;
  /** RFC 3339, when it was accepted. */
  readonly time: string;
  readonly workload: string;
  readonly direction: Direction;
  /** `ip:port`, IPv6 in brackets, as the two below. */
  readonly source: string;
  readonly originalDestination: string | null;
  readonly upstream: string | null;
  readonly interception: string;
}

/** One that it carries now. */
export interface OpenConnection extends BegunConnection {
  readonly listener: string;
  readonly originalDestination: string;
  readonly upstream: string;
}
