// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { formatMetrics } from "../../../src/admin/prometheus.ts";

describe("metrics as Prometheus' text", () => {
  it("have help, type and one line per sample", () => {
    const text = formatMetrics([
      {
        name: "shunt_connections_total",
        help: "Connections, by direction.",
        type: "counter",
        samples: [
          { labels: { direction: "outbound", workload: "a" }, value: 3 },
          { labels: { direction: "inbound", workload: "a" }, value: 9_007_199_254_740_993n },
        ],
      },
      { name: "shunt_up", help: "One.", type: "gauge", samples: [{ value: 1 }] },
    ]);
    expect(text).toBe(`# HELP shunt_connections_total Connections, by direction.
# TYPE shunt_connections_total counter
shunt_connections_total{direction="outbound",workload="a"} 3
shunt_connections_total{direction="inbound",workload="a"} 9007199254740993
# HELP shunt_up One.
# TYPE shunt_up gauge
shunt_up 1
`);
  });

  it("escape backslash and line break in help, and quotes too in label values", () => {
    const text = formatMetrics([
      { name: "m", help: 'a\\b\n"c"', type: "gauge", samples: [{ labels: { l: 'x"y\\z\n' }, value: 0 }] },
    ]);
    expect(text).toBe(String.raw`# HELP m a\\b\n"c"
# TYPE m gauge
m{l="x\"y\\z\n"} 0
`);
  });

  it("write a histogram's parts and the values JavaScript spells otherwise", () => {
    const text = formatMetrics([
      {
        name: "d_seconds",
        help: "h",
        type: "histogram",
        samples: [
          { suffix: "_bucket", labels: { le: "+Inf" }, value: 2 },
          { suffix: "_sum", value: Number.POSITIVE_INFINITY },
          { suffix: "_count", value: Number.NaN },
        ],
      },
    ]);
    expect(text.split("\n").slice(2)).toEqual([
      'd_seconds_bucket{le="+Inf"} 2',
      "d_seconds_sum +Inf",
      "d_seconds_count NaN",
      "",
    ]);
  });

  it("refuse names the format does not have", () => {
    expect(() => formatMetrics([{ name: "a-b", help: "", type: "gauge", samples: [] }])).toThrow(
      '"a-b" is not a metric name',
    );
    expect(() =>
      formatMetrics([{ name: "a", help: "", type: "gauge", samples: [{ labels: { "b:c": 1 }, value: 1 }] }]),
    ).toThrow('"b:c" is not a label name');
  });
});
