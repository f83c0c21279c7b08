// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { barLines } from "../../../../scripts/demo/chart.ts";

const bars = [
  { label: "direct", value: 100, text: "100" },
  { label: "eBPF", value: 52.5, text: "53" },
  { label: "none", value: 0, text: "0" },
];

describe("the chart in the terminal", () => {
  it("draws bars to one scale, in eighths of a character", () => {
    expect(barLines(bars, 10, true)).toEqual(["direct  ██████████ 100", "eBPF    █████▎ 53", "none    ▏ 0"]);
  });

  it("is ASCII where nothing else is expected", () => {
    expect(barLines(bars, 10, false)).toEqual(["direct  ########## 100", "eBPF    ##### 53", "none    # 0"]);
  });
});
