// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";

const root = join(import.meta.dirname, "../..");
const updating = process.env["UPDATE_GOLDEN"] === "1";

/** Fails unless the file of the repository is what the program makes; UPDATE_GOLDEN=1 writes it. */
export function expectCommitted(path: string, made: string): void {
  const file = join(root, path);
  if (updating) writeFileSync(file, made);
  expect(readFileSync(file, "utf8"), `${path} is out of date; UPDATE_GOLDEN=1 npx vitest run writes it`).toBe(made);
}

/** As expectCommitted, for the part of a file between `<!-- NAME -->` and `<!-- /NAME -->`. */
export function expectCommittedPart(path: string, name: string, made: string): void {
  const text = readFileSync(join(root, path), "utf8");
  const start = `<!-- ${name} -->\n`;
  const end = `<!-- /${name} -->`;
  const from = text.indexOf(start) + start.length;
  const to = text.indexOf(end);
  expect(from >= start.length && to >= from, `${path} has no part ${name}`).toBe(true);
  expectCommitted(path, `${text.slice(0, from)}\n${made}\n${text.slice(to)}`);
}
