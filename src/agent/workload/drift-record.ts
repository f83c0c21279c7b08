// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../../intercept/backend.ts";

/** What was found to differ from what should be in force. */
export interface DriftRecord {
  /** Differences, since the workload's start. */
  readonly found: number;
  /** When the last of them were found. */
  readonly time: Date;
  readonly last: readonly string[];
  /** Why what differs was not put right; absent when it was. */
  readonly problem?: string | undefined;
}

/** Table, place and kind of a difference: "nat SHUNT_OUTPUT changed". */
export function describeDrift({ family, table, chain, kind }: Drift): string {
  return `${family === undefined ? "" : `IPv${family} `}${table} ${chain} ${kind}`;
}
