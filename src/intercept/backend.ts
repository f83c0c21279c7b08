// SPDX-License-Identifier: Apache-2.0
import type { OriginalDestinationSource } from "./original-destination.ts";
import type { OwnFlowsSource } from "./own-flows.ts";
import type { InterceptSpec } from "./spec.ts";

export type BackendName = "ebpf" | "iptables";
export type Direction = "outbound" | "inbound";

/** How often each reason was the answer, per direction; a back-end without counters returns undefined. */
export interface VerdictCounters {
  readonly outbound: Readonly<Record<string, number>>;
  readonly inbound: Readonly<Record<string, number>>;
}

/** A listening socket that takes inbound connections; `index` is the worker's number. The fd stays the caller's. */
export interface InboundListener {
  readonly family: 4 | 6;
  readonly index: number;
  readonly fd: number;
}

/**
 * One workload's interception in force. Disposing lets go of handles and leaves the traffic as it is; only `remove`
 * gives the host back as it was.
 */
export interface Interception extends Disposable {
  readonly backend: BackendName;
  /** How a worker learns the original destination of a connection of this direction. */
  originalDestination(direction: Direction): OriginalDestinationSource;
  /** Where the proxy notes connections it makes with a client's address; undefined where nothing needs to know. */
  ownFlows(): OwnFlowsSource | undefined;
  /** Replaces the listener of one worker. */
  setInboundListener(listener: InboundListener): void;
  /** The addresses of the namespace have changed. */
  setLocalAddresses(addresses: readonly string[]): void;
  /** Replaces the policy while traffic flows: a connection sees the old one or the new one, never a mixture. */
  update(spec: InterceptSpec): Promise<void>;
  counters(): VerdictCounters | undefined;
  remove(): Promise<void>;
}
