// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { closestName } from "../../../src/util/closest-name.ts";

const fields = ["excludePorts", "includePorts", "excludeCidrs", "port", "dns"];

it.each([
  ["exludePorts", "excludePorts"],
  ["includeports", "includePorts"],
  ["prot", "port"],
  ["dsn", "dns"],
])("%s was meant to be %s", (mistyped, meant) => {
  expect(closestName(mistyped, fields)).toBe(meant);
});

it.each(["workers", "x", ""])("%j is near to nothing", (mistyped) => {
  expect(closestName(mistyped, fields)).toBeUndefined();
});
