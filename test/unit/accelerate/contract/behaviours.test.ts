// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { behaviours } from "../../../../src/accelerate/contract/behaviours.ts";
import { expectCommittedPart } from "../../../support/committed-file.ts";
import { markdown } from "../../../support/field-table.ts";

const root = join(import.meta.dirname, "../../../..");

const WITHOUT = {
  any: "`off`",
  application: "`splice-only`",
  receiver: "`asymmetric`",
  readers: "such programs are left alone",
  nothing: "nothing",
} as const;

describe("behaviours", () => {
  it("are those that docs/acceleration.md lists", () => {
    const rows = behaviours.map(({ name, checked, need }) => [`\`${name}\``, checked, WITHOUT[need]]);
    expectCommittedPart("docs/acceleration.md", "behaviours", markdown(["Behaviour", "Checked", "Broken"], rows));
  });

  it("have kebab-case names of their own", () => {
    const names: string[] = behaviours.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
  });

  it("each have a check in shunt-contract, and no check is without a behaviour", () => {
    const source = readFileSync(join(root, "addon/tools/contract/main.c"), "utf8");
    const checks = [...source.matchAll(/^\t\{"([a-z-]+)", check_/gm)].map((match) => match[1]);
    expect(new Set(checks)).toEqual(new Set(behaviours.map(({ name }) => name)));
  });
});
