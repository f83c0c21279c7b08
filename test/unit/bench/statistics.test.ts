// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { judge, median, perRound, quantile, spreadOf } from "../../../src/bench/statistics.ts";

describe("quantiles", () => {
  it("lie between the two nearest values, whatever the order", () => {
    expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
    expect(quantile([4, 1, 3, 2], 0.25)).toBe(1.75);
    expect(median([9, 1, 5])).toBe(5);
    expect(median([7])).toBe(7);
    expect(median([])).toBeNaN();
  });

  it("make the spread: (p75 − p25) / median", () => {
    expect(spreadOf([1, 2, 3, 4, 5])).toBeCloseTo(2 / 3);
    expect(spreadOf([2, 2, 2])).toBe(0);
  });
});

describe("a ratio", () => {
  it("is taken within each round", () => {
    expect(perRound([2, 9], [1, 3])).toEqual([2, 3]);
  });

  it("is told when the rounds differ less among themselves than from direct", () => {
    expect(judge([0.24, 0.25, 0.26])).toEqual({ spread: expect.closeTo(0.04), ratio: 0.25 });
    expect(judge([3, 4, 5])).toEqual({ spread: 0.25, ratio: 4 });
  });

  it.each([
    ["no difference", [0.98, 1.01, 1.0], "differs from direct by 0.0 %, and the rounds among themselves by 1.5 %"],
    ["a small one", [0.8, 0.95, 1.2], "differs from direct by 5.0 %, and the rounds among themselves by 21 %"],
    ["a great one", [2, 10, 30], "the rounds differ by 140 %"],
    ["nothing at all", [], "nothing was counted"],
    ["a division by zero", [Number.POSITIVE_INFINITY, 1, 1], "nothing was counted"],
  ])("is not told when its spread hides it: %s", (_what, ratios, why) => {
    expect(judge(ratios)).toMatchObject({ ratio: null, why });
  });
});
