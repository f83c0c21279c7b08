// SPDX-License-Identifier: Apache-2.0
/** What `shunt bench` prints: facts, a table of ratios, a chart. */
import type { BenchReport, ResultRow } from "./report.ts";
import { loadName, METRICS_OF, type Metric, routeName } from "./scenario.ts";
import { chartLines } from "./terminal-chart.ts";

const HEADS: Readonly<Record<Metric, string>> = {
  p50: "p50 µs",
  p90: "p90 µs",
  p99: "p99 µs",
  p999: "p99.9 µs",
  rate: "rate /s",
  throughput: "Gbit/s",
  cpu: "CPU s",
};

export function textReport(report: BenchReport, width: number): string {
  const { machine, lacking, taken } = report;
  const lines = [
    `${machine.cpus} × ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}, ${report.time}`,
    `${report.rounds} rounds in ${report.seconds} s; load of the machine before: ${machine.loadBefore}; CPUs ${machine.keptAwake ? "kept awake" : "may sleep"}`,
    ...Object.entries(report.programs).map(([name, version]) => `${name}: ${version}`),
    "",
    "Each cell: median, then × the median ratio to direct of the same round ± half its spread; ~ where the spread hides it.",
    "Less is better for µs and for CPU s (per million requests, per GB of bulk), more for rates.",
    ...tablesOf(report.results),
    ...chartLines(report.results, width),
  ];
  const ways = Object.entries(taken);
  if (ways.length > 0)
    lines.push("How bytes travelled, as the agent says:", ...ways.map(([route, way]) => `  ${route}: ${way}`));
  if (lacking.length > 0) {
    lines.push("Not compared:");
    for (const { what, why, how } of lacking) lines.push(`  ${what}: ${why}${how === undefined ? "" : ` (${how})`}`);
  }
  if (report.failed.length > 0) lines.push("Failed:", ...report.failed.map((failure) => `  ${failure}`));
  return `${lines.join("\n")}\n`;
}

/** One table for each load and topology, a line for each route. */
function tablesOf(results: readonly ResultRow[]): readonly string[] {
  const tables = new Map<string, Map<string, ResultRow[]>>();
  for (const row of results) {
    const title = `${row.topology}, ${loadName(row)}`;
    const table = tables.get(title) ?? new Map<string, ResultRow[]>();
    tables.set(title, table);
    const route = routeName(row).replace(/^[^/]+\//, "");
    table.set(route, [...(table.get(route) ?? []), row]);
  }
  return [...tables].flatMap(([title, table]) => {
    const metrics = METRICS_OF[[...table.values()][0]?.[0]?.test ?? "latency"];
    const head = ["", ...metrics.map((metric) => HEADS[metric])];
    const rows = [...table].map(([route, cells]) => [route, ...metrics.map((metric) => cellOf(cells, metric))]);
    return ["", title, ...aligned([head, ...rows])];
  });
}

function cellOf(rows: readonly ResultRow[], metric: Metric): string {
  const row = rows.find((candidate) => candidate.metric === metric);
  if (row === undefined) return "";
  if (row.path === "direct") return formatNumber(row.median);
  const ratio = row.ratio === null ? "~" : `×${row.ratio.toFixed(2)}±${((row.spread * row.ratio) / 2).toFixed(2)}`;
  return `${formatNumber(row.median)} ${ratio}`;
}

/** Three digits that count, or all of a large number. */
export function formatNumber(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en-US") : Number(value.toPrecision(3)).toString();
}

function aligned(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ")}`.trimEnd(),
  );
}
