// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { parseGoBool, parseGoDuration, parseGoUint16 } from "../../../../src/cli/istio/go-values.ts";

describe("Go's values", () => {
  it.each([
    ["1", true],
    ["t", true],
    ["TRUE", true],
    ["True", true],
    ["0", false],
    ["F", false],
    ["yes", undefined],
    ["tRUE", undefined],
    ["", undefined],
    [" true", undefined],
  ])("bool %j is %s", (text, value) => {
    expect(parseGoBool(text)).toBe(value);
  });

  it.each([
    ["0", 0],
    ["15002", 15_002],
    ["0x3a9a", 15_002],
    ["035232", 15_002],
    ["0o17", 15],
    ["0b11", 3],
    ["65535", 65_535],
    ["65536", undefined],
    ["-1", undefined],
    ["+1", undefined],
    ["089", undefined],
    ["1e3", undefined],
    ["", undefined],
  ])("uint16 %j is %s", (text, value) => {
    expect(parseGoUint16(text)).toBe(value);
  });

  it.each([
    ["5s", 5000],
    ["1m30s", 90_000],
    ["1h15m30.918s", 4_530_918],
    ["100ms", 100],
    ["1500us", 1.5],
    ["1µs", 0.001],
    ["2ns", 2e-6],
    [".5s", 500],
    ["1.s", 1000],
    ["-1.5h", -5_400_000],
    ["+5s", 5000],
    ["0", 0],
    ["5", undefined],
    ["s", undefined],
    ["5 s", undefined],
    ["5d", undefined],
    ["", undefined],
    ["2562048h", undefined],
  ])("duration %j is %s ms", (text, value) => {
    expect(parseGoDuration(text)).toBe(value);
  });
});
