// SPDX-License-Identifier: Apache-2.0
/** What `shunt bench --json` writes; described in docs/benchmarks.md. */
import type { Client, Metric, PathName, ProxyName, TestName, Topology } from "./scenario.ts";

export interface ResultRow {
  readonly path: PathName;
  readonly topology: Topology;
  readonly proxies: 0 | 1 | 2;
  readonly proxy: ProxyName | null;
  readonly client: Client;
  readonly test: TestName;
  readonly connections: number;
  readonly bytes: number;
  readonly metric: Metric;
  readonly unit: string;
  /** Of the rounds. */
  readonly median: number;
  /** (p75 − p25) / median of the ratios to direct in the same round; of direct itself, of its values. */
  readonly spread: number;
  /** Median of the ratios to direct in the same round; null where `why` says why there is none. */
  readonly ratio: number | null;
  readonly why?: string;
}

/** A latency distribution: [part of the requests, µs] of one route under one load, medians of the rounds. */
export interface Distribution {
  readonly path: PathName;
  readonly topology: Topology;
  readonly proxies: 0 | 1 | 2;
  readonly proxy: ProxyName | null;
  readonly client: Client;
  readonly test: TestName;
  readonly connections: number;
  readonly bytes: number;
  readonly points: readonly (readonly [number, number])[];
}

/** What could not be compared here. */
export interface Lacking {
  readonly what: string;
  readonly why: string;
  /** What to do about it, where something can be done. */
  readonly how?: string;
}

export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly node: string;
  /** CPUs were kept from sleeping deeply (PM QoS); without, waking up dominates what a single connection shows. */
  readonly keptAwake: boolean;
  /** Load of the machine in the minute before. */
  readonly loadBefore: number;
}

export interface BenchReport {
  readonly version: string;
  /** RFC 3339, of the beginning. */
  readonly time: string;
  readonly quick: boolean;
  readonly only: string | null;
  readonly seconds: number;
  readonly rounds: number;
  readonly machine: Machine;
  /** Versions of the proxies that are not ours. */
  readonly programs: Readonly<Record<string, string>>;
  readonly results: readonly ResultRow[];
  readonly distributions: readonly Distribution[];
  /** By route and kind of client: what the agent says which way the bytes of its connections took. */
  readonly taken: Readonly<Record<string, string>>;
  readonly lacking: readonly Lacking[];
  /** Routes that could not be measured though they should: one sentence each. */
  readonly failed: readonly string[];
}
