// SPDX-License-Identifier: Apache-2.0
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

const { stdout, env } = process;
const isTerminal = stdout.isTTY && env["TERM"] !== "dumb";
const colors = isTerminal && (env["NO_COLOR"] ?? "") === "";

/** Whether the terminal (or whoever reads the output) expects more than ASCII. */
export const unicode = /utf-?8/i.test(env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "");

/** Text in a style, where the output is a terminal and NO_COLOR is not set. */
export function paint(style: Style, text: string): string {
  return colors ? styleText(style, text) : text;
}

/** Writes one line; a line of progress gives way to it. */
export function say(text = ""): void {
  stdout.write(isTerminal ? `\r\x1b[K${text}\n` : `${text}\n`);
}

/** Tells what takes longer than a moment: a line that the next one replaces, on a terminal; else a line that stays. */
export function phase(text: string): void {
  if (isTerminal) progress(text);
  else say(`... ${text}`);
}

/** Tells a detail of a phase; nothing where the output is no terminal. */
export function progress(text: string): void {
  if (isTerminal) stdout.write(`\r\x1b[K${text.slice(0, (stdout.columns || 80) - 1)}`);
}

/** Lines of a table with two spaces between columns; the columns from `firstNumber` on are right-aligned. */
export function table(rows: readonly (readonly string[])[], firstNumber = Number.POSITIVE_INFINITY): string[] {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  return rows.map((row) => {
    const cells = row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column >= firstNumber ? cell.padStart(width) : cell.padEnd(width);
    });
    return `  ${cells.join("  ").trimEnd()}`;
  });
}
