// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../setup/stamp.mjs";
import type { Lane } from "./lanes.ts";
import type { LedgerEntry } from "./ledger.ts";
import { type Progress, readProgress } from "./progress.ts";

export const vitest = join(root, "node_modules/vitest/vitest.mjs");

interface VitestOptions {
  readonly projects: readonly string[];
  readonly filters?: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly lane?: Lane;
  /** Ends it as Ctrl-C does. */
  readonly stop: AbortSignal;
  /** Its output is kept until it has ended, and then given to this; without it goes to the terminal. */
  readonly show?: (output: string) => void;
}

/** Runs vitest and reads back what it ran. One that is stopped has run what it had come to. */
export async function runVitest(options: VitestOptions): Promise<Progress> {
  const { projects, filters = [], env, lane, stop, show } = options;
  // Not called shunt…: the search for leftovers would find it.
  const folder = mkdtempSync(join(tmpdir(), "ledger-of-shunt-"));
  const ledger = join(folder, "ledger.jsonl");
  const reporter = join(root, "scripts/test/ledger-reporter.ts");
  // A file, and no pipe: what outlives vitest would keep that open.
  const output = join(folder, "output");
  const fd = show && openSync(output, "w");
  const asked = [...projects.flatMap((project) => ["--project", project]), ...filters];
  try {
    const command = [vitest, "run", "--reporter=default", `--reporter=${reporter}`, "--passWithNoTests", ...asked];
    const child = spawn(process.execPath, command, {
      cwd: root,
      stdio: fd === undefined ? "inherit" : ["ignore", fd, fd],
      env: { ...env, SHUNT_LEDGER: ledger, ...(lane === undefined ? {} : { SHUNT_TEST_LANE: lane }) },
    });
    stop.addEventListener("abort", () => child.kill("SIGINT"));
    const status = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 128)));
    const progress = readProgress(ledger);
    const explained = progress.entries.some((entry) => entry.state === "failed");
    const died: LedgerEntry = { title: `vitest ended with status ${status}`, state: "failed" };
    return status === 0 || explained ? progress : { ...progress, entries: [...progress.entries, died] };
  } finally {
    if (fd !== undefined) closeSync(fd);
    show?.(readFileSync(output, "utf8"));
    rmSync(folder, { recursive: true, force: true });
  }
}
