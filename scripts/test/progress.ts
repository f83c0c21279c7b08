// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from "node:fs";
import type { LedgerEntry } from "./ledger.ts";

/** What the reporter writes, a line of JSON each, as it happens: a run that is ended has told what it came to. */
export type ProgressLine =
  | { readonly kind: "files"; readonly files: readonly string[] }
  | { readonly kind: "begun"; readonly file: string }
  | {
      readonly kind: "ended";
      readonly file: string;
      readonly seconds: number;
      readonly entries: readonly LedgerEntry[];
    }
  | { readonly kind: "error"; readonly title: string };

export interface Progress {
  readonly entries: readonly LedgerEntry[];
  readonly seconds: ReadonlyMap<string, number>;
  /** Files that have begun and not ended. */
  readonly running: readonly string[];
  /** Files that have not begun. */
  readonly waiting: readonly string[];
}

export function readProgress(path: string): Progress {
  return progressOf(existsSync(path) ? readFileSync(path, "utf8") : "");
}

/** The last line counts when it is whole. */
export function progressOf(text: string): Progress {
  const lines = text.split("\n").slice(0, -1);
  const entries: LedgerEntry[] = [];
  const seconds = new Map<string, number>();
  const begun = new Set<string>();
  const all = new Set<string>();
  for (const line of lines.map((one) => JSON.parse(one) as ProgressLine)) {
    if (line.kind === "files") for (const file of line.files) all.add(file);
    if (line.kind === "begun") begun.add(line.file);
    if (line.kind === "error") entries.push({ title: line.title, state: "failed" });
    if (line.kind !== "ended") continue;
    entries.push(...line.entries);
    seconds.set(line.file, line.seconds);
  }
  return {
    entries,
    seconds,
    running: [...begun].filter((file) => !seconds.has(file)),
    waiting: [...all].filter((file) => !begun.has(file) && !seconds.has(file)),
  };
}

/** The files that took longest, so that a slow machine is told from a slow test. */
export function formatSlowest(seconds: ReadonlyMap<string, number>, count: number): string {
  const slowest = [...seconds].toSorted(([, a], [, b]) => b - a).slice(0, count);
  return slowest.map(([file, took]) => `  ${Math.round(took).toString().padStart(4)} s  ${file}\n`).join("");
}

/** What did not come to its end, below `why`; nothing when all files did. */
export function cutOff(why: string, { running, waiting }: Pick<Progress, "running" | "waiting">): string[] {
  if (running.length + waiting.length === 0) return [];
  return [why, ...running.map((file) => `  was running: ${file}`), ...waiting.map((file) => `  has not run: ${file}`)];
}
