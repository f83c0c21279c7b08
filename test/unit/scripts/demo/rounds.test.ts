// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { interleave, median, ratios } from "../../../../scripts/demo/rounds.ts";

describe("rounds of measuring", () => {
  it("measure every way once a round and begin each round with another one", async () => {
    const order: string[] = [];
    const samples = await interleave(
      ["a", "b", "c"],
      3,
      (way, round) => {
        order.push(way);
        return Promise.resolve(`${way}${round}`);
      },
      () => order.push("|"),
    );
    expect(order.join("")).toBe("abc|bca|cab|");
    expect(samples.get("b")).toEqual(["b0", "b1", "b2"]);
  });

  it("are summed up by the median, which one bad round does not move", () => {
    expect(median([5, 1000, 4])).toBe(5);
    expect(median([1, 2, 3, 10])).toBe(2.5);
    expect(median([])).toBeNaN();
  });

  it("are compared within a round", () => {
    // The machine was ten times slower in the second round, for both.
    expect(ratios([50, 5, 40], [100, 10, 100])).toEqual([0.5, 0.5, 0.4]);
  });
});
