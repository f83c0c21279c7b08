// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { rowsOf } from "../../../src/bench/results.ts";
import { madeUpReport, madeUpSeries } from "../../support/bench-report.ts";

const { results, distributions } = madeUpReport();

describe("rows of results", () => {
  it("have a path, its proxies, the load, and for each metric median, spread and ratio", () => {
    expect(results.find(({ path, metric }) => path === "ebpf-spliced" && metric === "p50")).toEqual({
      path: "ebpf-spliced",
      topology: "loopback",
      proxies: 2,
      proxy: "shunt",
      client: "polling",
      test: "latency",
      connections: 16,
      bytes: 100,
      metric: "p50",
      unit: "µs",
      median: 99.45,
      spread: 0,
      ratio: 0.65,
    });
  });

  it("of direct have no proxy and the ratio 1", () => {
    const direct = results.filter(({ path }) => path === "direct");
    expect(direct.map(({ proxies, proxy, ratio }) => [proxies, proxy, ratio])).toEqual(direct.map(() => [0, null, 1]));
  });

  it("are one for each metric of the test", () => {
    const of = (wanted: string): string[] =>
      results.filter(({ test, path }) => test === wanted && path === "direct").map(({ metric }) => metric);
    expect(of("latency")).toEqual(["p50", "p90", "p99", "p999", "rate", "cpu"]);
    expect(of("bulk")).toEqual(["throughput", "cpu"]);
  });

  it("take ratios within a round, so that a machine that gets slower does not spread them", () => {
    const rates = results.filter(({ metric, path }) => metric === "rate" && path === "iptables");
    expect(rates).toMatchObject([{ ratio: 0.2222, spread: 0 }]);
  });

  it("tell no ratio of a path that was not taken", () => {
    const series = madeUpSeries().map((one) => ({
      ...one,
      samples: one.samples.map((s) => ({ ...s, doubt: "copied" })),
    }));
    const ours = rowsOf(series).filter(({ proxy }) => proxy === "shunt");
    expect(new Set(ours.map(({ ratio, why }) => `${ratio} ${why}`))).toEqual(new Set(["null copied"]));
    expect(ours.every(({ median }) => median > 0)).toBe(true);
  });

  it("leave out rounds that did not take the path", () => {
    const series = madeUpSeries().map((one) =>
      one.route.proxy === "shunt"
        ? {
            ...one,
            samples: one.samples.map((sample, round) =>
              round === 1 ? { ...sample, metrics: { p50: 1e6 }, doubt: "copied" } : sample,
            ),
          }
        : one,
    );
    const ours = rowsOf(series).find(({ proxy, metric }) => proxy === "shunt" && metric === "p50");
    expect(ours).toMatchObject({ ratio: 0.65, spread: 0, median: expect.closeTo(133.9, 0) });
  });

  it("are numbers that JSON can hold even of nothing", () => {
    const empty = madeUpSeries().map((one) => ({ ...one, samples: [] }));
    for (const { median, spread } of rowsOf(empty)) expect([median, spread]).toEqual([0, 0]);
  });
});

describe("distributions", () => {
  it("are medians of the rounds, point by point, of latency tests alone", () => {
    expect(distributions.map(({ path, test }) => `${path} ${test}`)).toEqual([
      "direct latency",
      "iptables latency",
      "ebpf-spliced latency",
    ]);
    expect(distributions[0]?.points[1]).toEqual([0.5, 153]);
  });
});
