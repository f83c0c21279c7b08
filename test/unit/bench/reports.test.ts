// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { htmlReport } from "../../../src/bench/html-report.ts";
import { textReport } from "../../../src/bench/text-report.ts";
import { madeUpReport } from "../../support/bench-report.ts";
import { expectGolden } from "../../support/golden-file.ts";

const report = madeUpReport();
const hidden = report.results.map((row) => (row.metric === "p99" ? { ...row, ratio: null, why: "a <reason>" } : row));

describe("the text", () => {
  it("has a table of ratios with spread, and a chart", () => {
    expectGolden(import.meta.dirname, "report.txt", textReport(report, 100));
  });

  it("has ~ for a ratio that is not told", () => {
    expect(textReport({ ...report, results: hidden }, 100)).toMatch(/ebpf-spliced.* 398 ~ /);
  });

  it("says what failed", () => {
    expect(textReport({ ...report, failed: ["loopback/ebpf/2-shunt: no agent"] }, 100)).toContain(
      "Failed:\n  loopback/ebpf/2-shunt: no agent\n",
    );
  });
});

describe("the page", () => {
  it("has a latency distribution, bars and figures of every load", () => {
    expectGolden(import.meta.dirname, "report.html", htmlReport(report));
  });

  it("needs nothing but itself", () => {
    expect(htmlReport(report)).not.toMatch(/\b(src|href)=|@import|url\(|https?:/);
  });

  it("says why a ratio is not told, and escapes what comes from elsewhere", () => {
    const page = htmlReport({ ...report, results: hidden });
    expect(page).toContain("a &lt;reason&gt;");
    expect(page).toContain("Made &lt;Up&gt; CPU");
    expect(page).not.toMatch(/<reason>|<Up>/);
  });
});
