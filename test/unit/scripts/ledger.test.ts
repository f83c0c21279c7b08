// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { exitCodeOf, formatLedger, judge, type LedgerEntry, reasonInTitle } from "../../../scripts/test/ledger.ts";

const passed: LedgerEntry = { title: "a", state: "passed" };
const failed: LedgerEntry = { title: "b", state: "failed" };
const skipped: LedgerEntry = { title: "c", state: "skipped", reason: "kernel without sk_lookup" };

describe("the ledger of a test run", () => {
  it("ends with the one line that scripts rely on", () => {
    expect(formatLedger([passed, failed, skipped, passed]).trimEnd().split("\n").at(-1)).toBe(
      "2 passed, 1 failed, 1 skipped",
    );
  });

  it("lists every skip with its reason above that line", () => {
    expect(formatLedger([passed, skipped])).toBe(
      "Skipped:\n  c: kernel without sk_lookup\n1 passed, 0 failed, 1 skipped\n",
    );
  });

  it("counts a skip without a reason as a failure", () => {
    expect(judge({ title: "c", state: "skipped", reason: " " }).state).toBe("failed");
    expect(judge(skipped)).toBe(skipped);
  });

  it("finds the reason of a skipped group in its title", () => {
    for (const [title, reason] of [
      ["in fish (skipped without the program fish) > completes", "without the program fish"],
      ["Envoy with original_dst (skipped: no pip) > keeps", "no pip"],
      ["Envoy (skipped: pip (of Python 3 (any)) is missing) > keeps (all of) it", "pip (of Python 3 (any)) is missing"],
      ["redsocks (skipped: apt-get download: E: :) > x", "apt-get download: E: :"],
      ["a (skipped: outer) > b (skipped: inner)", "inner"],
    ] as const) {
      expect(reasonInTitle(title), title).toBe(reason);
    }
  });

  it("finds no reason where none is", () => {
    for (const title of ["", "a", "a (needs iptables)", "a (skipped)", "a (skipped: )", "a (skippedness is bad)"]) {
      expect(reasonInTitle(title), title).toBe("");
    }
  });

  it("is a failure when anything failed and when nothing ran", () => {
    expect(exitCodeOf([passed, skipped])).toBe(0);
    expect(exitCodeOf([passed, failed])).toBe(1);
    expect(exitCodeOf([skipped])).toBe(1);
    expect(exitCodeOf([])).toBe(1);
  });
});
