// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { cutOff, formatSlowest, type ProgressLine, progressOf } from "../../../scripts/test/progress.ts";

const lines: readonly ProgressLine[] = [
  { kind: "files", files: ["a.test.ts", "b.test.ts", "c.test.ts"] },
  { kind: "begun", file: "a.test.ts" },
  { kind: "ended", file: "a.test.ts", seconds: 3.2, entries: [{ title: "a.test.ts > works", state: "passed" }] },
  { kind: "begun", file: "b.test.ts" },
];
const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");

describe("what a run of tests has written of its progress", () => {
  it("tells what ended, what was running and what had not begun when it was cut off", () => {
    const progress = progressOf(text);
    expect(progress.entries).toEqual([{ title: "a.test.ts > works", state: "passed" }]);
    expect(cutOff("ended after 36 minutes", progress)).toEqual([
      "ended after 36 minutes",
      "  was running: b.test.ts",
      "  has not run: c.test.ts",
    ]);
  });

  it("leaves out a line that was being written", () => {
    expect(progressOf(`${text}{"kind":"ended","file":"b.te`)).toEqual(progressOf(text));
    expect(progressOf("")).toEqual({ entries: [], seconds: new Map(), running: [], waiting: [] });
  });

  it("is no cut when every file came to its end", () => {
    expect(cutOff("ended after 36 minutes", { running: [], waiting: [] })).toEqual([]);
  });

  it("lists the slowest files, the slowest first", () => {
    const seconds = new Map([
      ["quick.test.ts", 0.4],
      ["slow.test.ts", 98.2],
      ["other.test.ts", 12.6],
    ]);
    expect(formatSlowest(seconds, 2)).toBe("    98 s  slow.test.ts\n    13 s  other.test.ts\n");
  });
});
