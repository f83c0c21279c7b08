// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";

/** The comparison cannot go on, or what it measured is not what it was to measure. */
export class BenchError extends ShuntError<
  "ERR_BENCH_INTERRUPTED" | "ERR_BENCH_PROGRAM" | "ERR_BENCH_LOAD" | "ERR_BENCH_PATH" | "ERR_BENCH_PLAN"
> {}
