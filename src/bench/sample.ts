// SPDX-License-Identifier: Apache-2.0
import type { Metric } from "./scenario.ts";

/** One measurement of one route under one load. */
export interface Sample {
  readonly metrics: Readonly<Partial<Record<Metric, number>>>;
  /** [part of the requests, µs]; empty where none was asked for. */
  readonly distribution: readonly (readonly [number, number])[];
  /** Why it is no figure of the path it was to take. */
  readonly doubt?: string;
}
