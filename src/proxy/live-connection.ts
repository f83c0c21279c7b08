// SPDX-License-Identifier: Apache-2.0
import type { AccelerationRecord } from "./acceleration.ts";
import type { ConnectionRecord, Outcome } from "./connection-record.ts";
import type { OpenConnection } from "./open-connection.ts";
import type { TimerWheel } from "./timer-wheel.ts";

/** A connection that is being carried, by the addon or by this thread. */
export interface LiveConnection {
  readonly id: string;
  /** Read from the upstream, and written downstream but for what is still queued. */
  readonly bytesSent: number;
  /** Read from the downstream. */
  readonly bytesReceived: number;
  /** How bytes go; absent where acceleration is off. */
  readonly acceleration: AccelerationRecord | undefined;
  /** Ends the connection now, by RST. */
  abort(outcome: Outcome, detail: string): void;
  /** The idle timeout has changed. */
  rearm(): void;
}

/** What a connection needs of the runtime that carries it. */
export interface ConnectionHost {
  readonly wheel: TimerWheel;
  /** Milliseconds since the epoch that never go back. */
  now(): number;
  opened(connection: LiveConnection, description: OpenConnection): void;
  /** The same connection is another object from now on. */
  replaced(before: LiveConnection, after: LiveConnection): void;
  /** Both sockets are closed; called once, also for connections that were never opened. */
  ended(connection: LiveConnection, record: ConnectionRecord): void;
}
