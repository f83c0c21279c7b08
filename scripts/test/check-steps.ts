// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { runQuietly, startProgress } from "../setup/progress.mjs";
import { root } from "../setup/stamp.mjs";
import type { LedgerEntry } from "./ledger.ts";

export interface CheckStep {
  readonly title: string;
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Why this machine cannot run the step. */
  readonly unavailable?: string;
}

const local = (name: string) => join(root, "node_modules/.bin", name);

/** C and C++ of ours. */
export function cFiles(): string[] {
  return ["bpf", "addon"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(c|h|cc|hpp)$/.test(file) && !/(^|\/)build\//.test(file))
      .map((file) => join(folder, file)),
  );
}

/** Path of the pinned clang-format, or undefined where the npm package has no binary. */
export function clangFormat(): string | undefined {
  return process.arch === "x64" ? join(root, "node_modules/clang-format/bin/linux_x64/clang-format") : undefined;
}

/** Everything that reads the sources and runs none of them. */
export function staticSteps(): CheckStep[] {
  const format = clangFormat();
  return [
    { title: "format and order of imports (biome)", command: [local("biome"), "check", "--colors=off", "."] },
    { title: "lint (oxlint --type-aware)", command: [local("oxlint"), "--type-aware"] },
    { title: "types (tsc)", command: [local("tsc"), "-p", "tsconfig.test.json"] },
    { title: "nothing unused (knip)", command: [local("knip"), "--no-progress"] },
    {
      title: "format of C and C++ (clang-format)",
      command: [format ?? "clang-format", "--dry-run", "--Werror", ...cFiles()],
      ...(format === undefined
        ? { unavailable: `the npm package clang-format has no binary for ${process.arch}` }
        : {}),
    },
  ];
}

/** Unit tests that load neither the addon nor a built object. */
export const unitStep: CheckStep = {
  title: "unit tests that need no addon (vitest)",
  command: [
    process.execPath,
    join(root, "node_modules/vitest/vitest.mjs"),
    "run",
    "--project",
    "unit",
    "--reporter=dot",
  ],
  env: { SHUNT_CHECK: "1" },
};

/** Runs one step visibly; its output is shown when it fails. */
export async function runCheck(step: CheckStep): Promise<LedgerEntry> {
  if (step.unavailable !== undefined) return { title: step.title, state: "skipped", reason: step.unavailable };
  const progress = startProgress(step.title);
  const options = { cwd: root, env: { ...process.env, ...step.env } };
  const { status, output } = await runQuietly(step.command, options, (line) => progress.note(line));
  progress.end(status === 0 ? "passed" : "failed");
  if (status !== 0) process.stdout.write(`${output.trimEnd()}\n`);
  return { title: step.title, state: status === 0 ? "passed" : "failed" };
}
