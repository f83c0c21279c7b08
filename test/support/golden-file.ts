// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";

/** Compares with `golden/NAME.golden` beside the test; UPDATE_GOLDEN=1 writes it. */
export function expectGolden(folder: string, name: string, text: string): void {
  const file = join(folder, "golden", `${name}.golden`);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(join(folder, "golden"), { recursive: true });
    writeFileSync(file, text);
  }
  expect(existsSync(file), `${file} is made by UPDATE_GOLDEN=1`).toBe(true);
  expect(text).toBe(readFileSync(file, "utf8"));
}
