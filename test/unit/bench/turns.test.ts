// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { turnsOf } from "../../../src/bench/interleave.ts";

it("all routes take their turn under one load before the next load, each round beginning with another route", () => {
  const turns = (round: number): string[] =>
    turnsOf(["x", "y"], (load) => (load === "x" ? ["a", "b", "c"] : ["a"]), round).map(
      ({ route, load }) => route + load,
    );
  expect(turns(0)).toEqual(["ax", "bx", "cx", "ay"]);
  expect(turns(1)).toEqual(["bx", "cx", "ax", "ay"]);
  expect(turns(2)).toEqual(["cx", "ax", "bx", "ay"]);
  expect(turns(3)).toEqual(turns(0));
});

it("a load that no route is under has no turn", () => {
  expect(turnsOf(["x"], () => [], 5)).toEqual([]);
});
