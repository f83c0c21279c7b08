// SPDX-License-Identifier: Apache-2.0
/**
 * What main and workers tell each other: plain data only. Descriptors are numbers of the process that both share.
 *
 * Ownership: every fd in a message stays the sender's. A worker duplicates a listener before it uses it, and main
 * closes its own once the worker has answered or died, so that no number is ever closed twice. `netnsFd` is used as
 * it is: main keeps it open until the listener has been removed. Map fds are duplicated by mapFromFd.
 */
import type { AccelerationSource } from "../../accelerate/acceleration-source.ts";
import type { SpliceSource } from "../../accelerate/splice-source.ts";
import type { OriginalDestinationSource } from "../../intercept/original-destination.ts";
import type { OwnFlowsSource } from "../../intercept/own-flows.ts";
import type { ConnectionBytes } from "../../proxy/open-connection.ts";
import type { ListenerConfig } from "../../proxy/proxy-listener.ts";
import type { Rows } from "./traffic-rows.ts";

/** A listener as main describes it to a worker. `interception` of records follows from `originals`. */
export interface WorkerListener extends Omit<ListenerConfig, "interception"> {
  /** Asked in this order: while one interception takes over from another, connections come by both. */
  readonly originals: readonly OriginalDestinationSource[];
  /** For source "preserve" under sk_lookup. */
  readonly ownFlows?: OwnFlowsSource | undefined;
  /** Absent where every connection is copied. */
  readonly acceleration?: AccelerationSource | undefined;
  /** Absent where nothing is spliced. */
  readonly splice?: SpliceSource | undefined;
}

/** A request has a number, and exactly one answer. */
export type WorkerRequest =
  | { readonly kind: "add-listener"; readonly listener: WorkerListener; readonly fd: number }
  /** All of it holds for connections to come, of those that are there only the timeouts change. */
  | { readonly kind: "update-listener"; readonly listener: WorkerListener }
  /** Tells `carried` before the answer. */
  | { readonly kind: "tell-carried" }
  /** Answered when its last connection has ended. */
  | { readonly kind: "remove-listener"; readonly name: string; readonly drainMs: number };

export type ToWorker =
  | { readonly kind: "request"; readonly id: number; readonly request: WorkerRequest }
  /** End by yourself: no more accepts, `drainMs` for the connections, then exit. */
  | { readonly kind: "stop"; readonly drainMs: number }
  /** Throw: for tests of what happens then. */
  | { readonly kind: "crash"; readonly message: string };

export type FromWorker =
  | { readonly kind: "ready" }
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly error?: { readonly code: string; readonly message: string };
    }
  /** What has happened since the last one (traffic-rows.ts); apply `opened` first. */
  | {
      readonly kind: "traffic";
      readonly opened: Rows;
      /** Of connections that another message has opened, or that were never open. */
      readonly ended: Rows;
      /** Of connections that have been opened and have ended since. */
      readonly brief: Rows;
    }
  | { readonly kind: "carried"; readonly connections: readonly ConnectionBytes[] }
  | { readonly kind: "accept-error"; readonly listener: string; readonly message: string };
