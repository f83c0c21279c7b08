// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { behaviours } from "../../../../src/accelerate/contract/behaviours.ts";
import { keepContract, readKeptContract } from "../../../../src/accelerate/contract/kept-contract.ts";
import { accelerationOf, type BehaviourVerdicts, type Contract } from "../../../../src/accelerate/contract/verdict.ts";

const key = { bootId: "1f0a", version: "0.1.0" };

function contract(verdict: "ok" | "untested"): Contract {
  const verdicts = Object.fromEntries(
    behaviours.map(({ name }) => [name, { verdict, detail: `${name} was tried` }]),
  ) as BehaviourVerdicts;
  return { acceleration: accelerationOf(verdicts), behaviours: verdicts };
}

describe("a kept contract", () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "shunt-test-"));
    path = join(folder, "below", "verdict.json");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("is found again in the same boot by the same version", () => {
    keepContract(path, key, contract("ok"));
    expect(readKeptContract(path, key)).toEqual(contract("ok"));
    keepContract(path, key, contract("untested"));
    expect(readKeptContract(path, key)).toEqual(contract("untested"));
    expect(readdirSync(join(folder, "below"))).toEqual(["verdict.json"]);
  });

  it.each([
    ["another boot", { ...key, bootId: "2f0a" }],
    ["another version", { ...key, version: "0.1.1" }],
  ])("is none of %s", (_, other) => {
    keepContract(path, key, contract("ok"));
    expect(readKeptContract(path, other)).toBeUndefined();
  });

  it("is none where there is no file, or one that is no verdict", () => {
    expect(readKeptContract(path, key)).toBeUndefined();
    keepContract(path, key, contract("ok"));
    const whole = readFileSync(path, "utf8");
    const other = [
      whole.slice(0, -20),
      "null",
      "[]",
      whole.replace('"ok"', '"fine"'),
      whole.replace("byte-order", "x"),
    ];
    for (const text of other) {
      writeFileSync(path, text);
      expect(readKeptContract(path, key), text.slice(0, 60)).toBeUndefined();
    }
  });

  it("is decided anew: what the file says of acceleration does not count", () => {
    keepContract(path, key, contract("untested"));
    const kept = JSON.parse(readFileSync(path, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...kept, acceleration: "on" }));
    expect(readKeptContract(path, key)?.acceleration).toBe("off");
  });
});
