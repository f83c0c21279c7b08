// SPDX-License-Identifier: Apache-2.0
/** The command line with a terminal and an agent that only note what reaches them. */
import type { Actions } from "../../src/cli/actions.ts";
import { runCli } from "../../src/cli/run-cli.ts";

export interface CliResult {
  readonly status: number;
  readonly out: string;
  readonly err: string;
  /** What each action was called with. */
  readonly calls: readonly (readonly unknown[])[];
}

export interface CliSurroundings {
  readonly actions?: Partial<Actions>;
  readonly signal?: AbortSignal;
  readonly isTTY?: boolean;
  /** Sees standard output as it is written. */
  readonly onOut?: (text: string) => void;
}

export async function shunt(argv: readonly string[], surroundings: CliSurroundings = {}): Promise<CliResult> {
  const calls: unknown[][] = [];
  let out = "";
  let err = "";
  const status = await runCli(
    argv,
    {
      stdout: {
        write: (text) => {
          out += text;
          surroundings.onOut?.(text);
        },
        isTTY: surroundings.isTTY,
        columns: 100,
        rows: 24,
      },
      stderr: { write: (text) => void (err += text) },
      signal: surroundings.signal ?? new AbortController().signal,
    },
    {
      version: "1.2.3",
      runAgent: async (...args) => {
        calls.push(["runAgent", ...args]);
        return 0;
      },
      execCommand: async (...args) => {
        calls.push(["execCommand", ...args]);
        return 7;
      },
      clean: async (...args) => {
        calls.push(["clean", ...args]);
        return { removed: [], failed: [] };
      },
      rules: async (options) => {
        calls.push(["rules", options]);
        return { action: options.action, workloads: [] };
      },
      bench: () => Promise.reject(new Error("no bench in this test")),
      probeMachine: () => Promise.reject(new Error("no probe in this test")),
      ...surroundings.actions,
    },
  );
  return { status, out, err, calls };
}
