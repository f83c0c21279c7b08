// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from "vitest/config";
import { BESIDE } from "./scripts/test/lanes.ts";

/** Slow machines multiply every deadline by SHUNT_PATIENCE. */
const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Long, and about acceleration alone, which is off by default. */
const LONG_FILES = ["test/integration/acceleration/idle-readers.test.ts", "test/integration/bench.test.ts"];

/** `npm test` has two of these run at once, each with its files. */
const lane = process.env["SHUNT_TEST_LANE"];

// vitest insists on a default export here.
export default defineConfig({
  test: {
    // Tests of one file that mostly wait run beside each other; more of them than this would wait for the processors.
    maxConcurrency: 3,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          // Files that load the built addon; `npm run check` leaves them to `npm test`.
          exclude: process.env["SHUNT_CHECK"] === "1" ? ["test/unit/native/**", "test/unit/bpf/**"] : [],
          testTimeout: 10_000 * patience,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: lane === "beside" ? [...BESIDE] : ["test/integration/**/*.test.ts"],
          // CI has 40 minutes on two cores; these run with SHUNT_ORACLE=long.
          exclude: [...(process.env["SHUNT_ORACLE"] === "long" ? [] : LONG_FILES), ...(lane === "main" ? BESIDE : [])],
          // Files share the machine's cgroups and namespaces, so one at a time; a fork can crash alone.
          pool: "forks",
          fileParallelism: false,
          // Real processes on shared machines; what needed its second try is listed at the end, never hidden.
          retry: 1,
          testTimeout: 60_000 * patience,
          hookTimeout: 60_000 * patience,
        },
      },
      {
        extends: true,
        test: {
          name: "vm",
          include: ["test/vm/**/*.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 600_000 * patience,
          hookTimeout: 600_000 * patience,
        },
      },
    ],
  },
});
