// SPDX-License-Identifier: Apache-2.0
import type { AccelerationRecord } from "./acceleration.ts";
import type { Direction } from "./original-destination.ts";

/** How a connection ended; the record's `detail` says more in words. */
export type Outcome =
  | "closed"
  | "reset-by-downstream"
  | "reset-by-upstream"
  | "connect-failed"
  | "timeout"
  | "refused"
  | "worker-lost";

/** One line per connection, written when it ends. Fields are only ever added. */
export interface ConnectionRecord {
  /** RFC 3339, when the connection was accepted. */
  readonly time: string;
  readonly id: string;
  readonly direction: Direction;
  /** `ip:port`, IPv6 in brackets. */
  readonly source: string;
  readonly originalDestination: string | null;
  readonly upstream: string | null;
  /** To the downstream, as in Envoy's %BYTES_SENT%. */
  readonly bytesSent: number;
  /** From the downstream, as in Envoy's %BYTES_RECEIVED%. */
  readonly bytesReceived: number;
  readonly durationMs: number;
  readonly outcome: Outcome;
  readonly detail: string;
  readonly interception: string;
  readonly workload: string;
  /** Absent where acceleration is off for the workload. */
  readonly acceleration?: AccelerationRecord | undefined;
}
