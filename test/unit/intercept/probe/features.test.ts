// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { features } from "../../../../src/intercept/probe/features.ts";

describe("docs/probe.md", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../../docs/probe.md"), "utf8");

  it("has exactly the features of features.ts, in their order", () => {
    const rows = text.split("\n").filter((line) => line.startsWith("| `"));
    expect(rows).toEqual(features.map(({ name, hook, meaning }) => `| \`${name}\` | ${hook} | ${meaning} |`));
  });
});

describe("feature names", () => {
  it("are kebab-case and unique", () => {
    const names: string[] = features.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
  });
});
