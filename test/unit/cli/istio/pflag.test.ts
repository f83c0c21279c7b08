// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { splitFlags } from "../../../../src/cli/istio/pflag.ts";

const SHAPES = [
  { name: "ports", short: "b", isSwitch: false },
  { name: "dry-run", short: "n", isSwitch: true },
  { name: "reconcile", isSwitch: true },
];

const split = (...argv: string[]): Record<string, readonly string[]> =>
  Object.fromEntries(splitFlags(argv, SHAPES).values);

describe("as pflag, the command line splits", () => {
  it.each([
    [["--ports=*"], { ports: ["*"] }],
    [["--ports", "*"], { ports: ["*"] }],
    [["--ports", "--dry-run"], { ports: ["--dry-run"] }],
    [["--ports="], { ports: [""] }],
    [["--ports=a=b"], { ports: ["a=b"] }],
    [["-b", "80"], { ports: ["80"] }],
    [["-b", ""], { ports: [""] }],
    [["-b80"], { ports: ["80"] }],
    [["-b=80"], { ports: ["80"] }],
    [["-b="], { ports: ["="] }],
    [["-b", "1", "-b", "2"], { ports: ["1", "2"] }],
    [["-nb80"], { "dry-run": ["true"], ports: ["80"] }],
    [["-nb", "80"], { "dry-run": ["true"], ports: ["80"] }],
    [["-nb=80"], { "dry-run": ["true"], ports: ["80"] }],
    [["-n"], { "dry-run": ["true"] }],
    [["-n=false"], { "dry-run": ["false"] }],
    [["--dry-run"], { "dry-run": ["true"] }],
    [["--dry-run=false", "--reconcile"], { "dry-run": ["false"], reconcile: ["true"] }],
    [["--dry-run", "--"], { "dry-run": ["true"] }],
  ])("%j", (argv, expected) => {
    expect(split(...argv)).toEqual(expected);
  });

  it.each([[["--help"]], [["-h"]], [["-nh"]], [["-b", "80", "--help"]]])("%j asks for help", (argv) => {
    expect(splitFlags(argv, SHAPES).help).toBe(true);
  });

  it("a value that looks like help is a value", () => {
    expect(splitFlags(["-b", "-h"], SHAPES)).toEqual({ values: new Map([["ports", ["-h"]]]), help: false });
  });
});

describe("what pflag refuses is refused", () => {
  it.each([
    [["--bogus"], "unknown flag --bogus"],
    [["--bogus=1"], "unknown flag --bogus"],
    [["-y"], "unknown flag -y in -y"],
    [["-ny"], "unknown flag -y in -ny"],
    [["-n="], "unknown flag -= in -n="],
    [["--ports"], "flag needs a value: --ports"],
    [["-b"], "flag needs a value: -b"],
    [["--="], "--= is no flag"],
    [["---ports"], "---ports is no flag"],
    [["80"], '"80" belongs to no flag'],
    [["--", "80"], '"80" belongs to no flag'],
    [["-"], '"-" belongs to no flag'],
    [["--dry-run", "false"], '"false" belongs to no flag: a switch takes its value after "=", as in --dry-run=false'],
  ])("%j", (argv, message) => {
    expect(() => split(...argv)).toThrow(message);
  });
});
