// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, MAX_DURATION_MS, parseDuration } from "../../../src/util/duration.ts";

describe("a duration", () => {
  it.each([
    ["0s", 0],
    ["250ms", 250],
    ["1.5s", 1500],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["1h2m3s4ms", 3_723_004],
  ])("%s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "10", "s", "-1s", "1d", "1 s", "1s ", "1e3s", "0x1s", ".5s", "600h"])("%j is refused", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it("survives being written and read", () => {
    fc.assert(fc.property(fc.nat(MAX_DURATION_MS), (ms) => parseDuration(formatDuration(ms)) === ms));
  });

  it("is written in as few units as it takes", () => {
    expect([0, 250, 5_400_000, 61_000].map(formatDuration)).toEqual(["0s", "250ms", "1h30m", "1m1s"]);
  });
});
