// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { judgeWays } from "../../../src/bench/acceleration.ts";
import { BenchError } from "../../../src/bench/bench-error.ts";

const copy = { sent: "copy", received: "copy", reason: "reader-blocks" };
const direct = { sent: "direct", received: "direct", reason: "none" };
const asymmetric = { sent: "copy", received: "leg", reason: "reader-blocks" };

it("what was promised in one direction is taken", () => {
  expect(judgeWays("polling", ["leg"], [asymmetric, asymmetric, copy])).toEqual({
    taken: "2 × sent copy, received leg (reader-blocks); 1 × sent copy, received copy (reader-blocks)",
  });
});

it("polling programs that are not accelerated are an error", () => {
  expect(() => judgeWays("polling", ["direct"], [copy])).toThrow(BenchError);
  expect(() => judgeWays("polling", ["leg"], [direct])).toThrow("nothing was accelerated: 1 × sent direct");
  expect(() => judgeWays("polling", ["direct"], [undefined])).toThrow("the agent says nothing of how bytes travel");
});

it("blocking ones are measured, and their ratios are not told", () => {
  expect(judgeWays("blocking", ["leg"], [copy])).toEqual({
    taken: "1 × sent copy, received copy (reader-blocks)",
    doubt: "nothing was accelerated: 1 × sent copy, received copy (reader-blocks)",
  });
});
