// SPDX-License-Identifier: Apache-2.0
/** What came out for a kernel, kept until its next run: the table has the columns of runs on different days. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../scripts/setup/stamp.mjs";
import type { Verdict } from "./cells.ts";

export interface KernelResult {
  readonly name: string;
  readonly release: string;
  readonly mode: string;
  readonly tier: string | null;
  readonly reason: string;
  /** "host", "tcg" or "kvm". */
  readonly accelerator: string;
  readonly date: string;
  readonly seconds: number;
  readonly tools: Readonly<Record<string, string>>;
  readonly verdicts: readonly Verdict[];
}

const folder = join(root, ".cache/vm");

/** Where the outputs of a run are. */
export function outputFolder(): string {
  mkdirSync(join(folder, "results"), { recursive: true });
  return folder;
}

function kept(name: string): KernelResult | undefined {
  const file = join(outputFolder(), "results", `${name}.json`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as KernelResult) : undefined;
}

/** Keeps a result; where only some of the cells have run, the others of the same kernel image stay as they were. */
export function keepResult(result: KernelResult, partial: boolean): void {
  const before = kept(result.name);
  const again = new Set(result.verdicts.map(({ name }) => name));
  const others =
    partial && before?.release === result.release ? before.verdicts.filter(({ name }) => !again.has(name)) : [];
  const whole = { ...result, verdicts: [...result.verdicts, ...others] };
  writeFileSync(join(outputFolder(), "results", `${result.name}.json`), `${JSON.stringify(whole, undefined, 2)}\n`);
}

/** The last result of each of these kernels that has been run here, in their order. */
export function keptResults(names: readonly string[]): KernelResult[] {
  return names.flatMap((name) => kept(name) ?? []);
}

const OPEN = "<!-- the table of npm run test:vm -->";
const document = join(root, "docs/kernels.md");
const CLOSE = "<!-- end of the table -->";

/** Columns that the table in docs/kernels.md has now. */
export function shownColumns(text = existsSync(document) ? readFileSync(document, "utf8") : ""): string[] {
  const header = /^\|\s*\|(.*)\|$/m.exec(text.split(OPEN)[1] ?? "")?.[1] ?? "";
  return header
    .split("|")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/** Puts the table between its marks in docs/kernels.md. */
export function writeTable(table: string): void {
  const text = existsSync(document) ? readFileSync(document, "utf8") : `${OPEN}\n${CLOSE}\n`;
  const [before = "", rest = ""] = text.split(OPEN);
  writeFileSync(document, `${before}${OPEN}\n\n${table}\n${CLOSE}${rest.split(CLOSE)[1] ?? ""}`);
}
