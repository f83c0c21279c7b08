// SPDX-License-Identifier: Apache-2.0
import type { BenchReport } from "./report.ts";

export interface BenchOptions {
  readonly quick: boolean;
  /** Matched with names such as "loopback/ebpf/2-shunt/polling/latency/c16/100B"; absent: everything. */
  readonly only?: RegExp;
  /** Interrupts; everything made is removed all the same. */
  readonly signal: AbortSignal;
  /** Told as it goes on, one line each. */
  readonly onProgress: (text: string) => void;
}

export type RunBench = (options: BenchOptions) => Promise<BenchReport>;
