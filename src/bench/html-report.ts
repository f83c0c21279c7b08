// SPDX-License-Identifier: Apache-2.0
/** A page with plots and all figures that needs nothing but itself. */
import { barPlot } from "./bar-plot.ts";
import { cdfPlot } from "./cdf-plot.ts";
import type { BenchReport, ResultRow } from "./report.ts";
import { isCost, type Load, loadName, METRICS_OF, type Metric, routeName, type Topology } from "./scenario.ts";
import { escapeHtml } from "./svg.ts";
import { formatNumber } from "./text-report.ts";

const STYLE = `
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #ddd; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --paper: #161616; --faint: #444; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--faint); }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--faint); } .line { fill: none; stroke-width: 1.8; } .whisker { stroke: var(--ink); stroke-width: 1.5; }
.one { stroke: var(--ink); stroke-dasharray: 2 3; } .hidden text { opacity: 0.6; font-style: italic; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } td, th { padding: 0.15rem 0.6rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr + tr { border-top: 1px solid var(--faint); }
`;

const TITLES: Readonly<Record<Metric, string>> = {
  p50: "Latency p50",
  p90: "Latency p90",
  p99: "Latency p99",
  p999: "Latency p99.9",
  rate: "Rate",
  throughput: "Throughput",
  cpu: "CPU",
};

/** Metrics that get a plot; the table has them all. */
const PLOTTED: readonly Metric[] = ["p50", "p99", "rate", "throughput", "cpu"];

export function htmlReport(report: BenchReport): string {
  const { machine } = report;
  const facts = [
    `${machine.cpus} × ${machine.cpu}, Linux ${machine.kernel}, Node ${machine.node}`,
    `${report.time}, ${report.rounds} rounds, ${report.seconds} s, load of the machine before: ${machine.loadBefore}, CPUs ${machine.keptAwake ? "kept awake" : "may sleep"}`,
    `Shunt ${report.version}${Object.values(report.programs)
      .map((version) => `; ${version}`)
      .join("")}`,
  ];
  const body = [
    "<h1>shunt bench</h1>",
    ...facts.map((fact) => `<p>${escapeHtml(fact)}</p>`),
    "<p>Every ratio is the median over the rounds of a route’s figure by that of direct TCP in the same round; whiskers are the spread, (p75 − p25) / median. Ratios that their spread hides are not told.</p>",
    ...sectionsOf(report),
    list(
      "How bytes travelled",
      Object.entries(report.taken).map(([route, way]) => `${route}: ${way}`),
    ),
    list(
      "Not compared",
      report.lacking.map(({ what, why, how }) => `${what}: ${why}${how === undefined ? "" : ` (${how})`}`),
    ),
    list("Failed", report.failed),
  ];
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>shunt bench</title><style>${STYLE}</style>`;
  return `<!doctype html>\n<html lang="en"><head>${head}</head><body>\n${body.filter((part) => part !== "").join("\n")}\n</body></html>\n`;
}

function sectionsOf({ results, distributions }: BenchReport): readonly string[] {
  const titles = [...new Set(results.map(titleOf))];
  return titles.flatMap((title) => {
    const rows = results.filter((row) => titleOf(row) === title);
    const test = rows[0]?.test ?? "latency";
    const curves = distributions.filter((distribution) => titleOf(distribution) === title);
    const plots = METRICS_OF[test]
      .filter((metric) => PLOTTED.includes(metric))
      .flatMap((metric) => {
        const ofMetric = rows.filter((row) => row.metric === metric);
        const direction = isCost(metric) ? "less is better" : "more is better";
        return [`<h3>${TITLES[metric]}, × direct (${direction})</h3>`, barPlot(ofMetric)];
      });
    const cdf = curves.length === 0 ? [] : ["<h3>Latency distribution</h3>", cdfPlot(curves)];
    return [`<h2>${escapeHtml(title)}</h2>`, ...cdf, ...plots, tableOf(rows)];
  });
}

function titleOf(of: Load & { readonly topology: Topology }): string {
  return `${of.topology}, ${loadName(of)}`;
}

function tableOf(rows: readonly ResultRow[]): string {
  const routes = [...new Set(rows.map(routeName))];
  const metrics = METRICS_OF[rows[0]?.test ?? "latency"];
  const units = metrics.map((metric) => rows.find((row) => row.metric === metric)?.unit ?? "");
  const head = metrics
    .map((metric, index) => `<th>${TITLES[metric]}<br>${escapeHtml(units[index] ?? "")}</th>`)
    .join("");
  const lines = routes.map((route) => {
    const cells = metrics.map((metric) => {
      const row = rows.find((candidate) => routeName(candidate) === route && candidate.metric === metric);
      if (row === undefined) return "<td></td>";
      const ratio = row.ratio === null ? "~" : `× ${row.ratio.toFixed(2)}`;
      return `<td title="${escapeHtml(row.why ?? "")}">${formatNumber(row.median)}<br>${ratio}</td>`;
    });
    return `<tr><td>${route}</td>${cells.join("")}</tr>`;
  });
  return `<table><tr><th></th>${head}</tr>\n${lines.join("\n")}\n</table>`;
}

function list(title: string, items: readonly string[]): string {
  if (items.length === 0) return "";
  return `<h2>${title}</h2><ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join("")}</ul>`;
}
