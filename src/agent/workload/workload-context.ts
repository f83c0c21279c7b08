// SPDX-License-Identifier: Apache-2.0
import type { EbpfBackend } from "../../intercept/ebpf/backend.ts";
import type { Logger } from "../../util/log.ts";
import type { AgentAcceleration } from "../acceleration.ts";
import type { WorkloadTrace } from "../scope-lock.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";

export interface ProxyTimeouts {
  readonly connectTimeoutMs: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
}

/** What a workload has of the agent it belongs to. */
export interface WorkloadContext {
  readonly ebpf: EbpfBackend;
  readonly pool: WorkerPool;
  readonly acceleration: AgentAcceleration;
  readonly timeouts: ProxyTimeouts;
  readonly log: Logger;
  /** What an agent of this name left that was killed, by namespace path: ours to undo, at the end. */
  readonly inherited: ReadonlyMap<string, WorkloadTrace>;
  /** Called before the host is changed, so that the change can be undone however this process ends. */
  readonly onTrace?: (trace: WorkloadTrace) => void;
}

/**
 * How long something that connections are no longer led to goes on taking those that were led there before: handshakes
 * under way, whose SYN or SYN-ACK may have been lost twice (1 s and 2 s, RFC 6298), and queries.
 */
export const LINGER_MS = 5_000;
