// SPDX-License-Identifier: Apache-2.0
/** Bars of ratios to direct: rates, where more is better, of every load. */
import type { ResultRow } from "./report.ts";
import { loadName, type Metric, routeName } from "./scenario.ts";

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const SHOWN: readonly Metric[] = ["rate", "throughput"];

/** One chart for each load and topology, all to one scale. */
export function chartLines(results: readonly ResultRow[], width: number): readonly string[] {
  const shown = results.filter(
    ({ metric, test, connections }) => SHOWN.includes(metric) && (test !== "latency" || connections > 1),
  );
  const labels = shown.map((row) => label(row).length);
  const labelWidth = Math.max(0, ...labels);
  const greatest = Math.max(1, ...shown.map(({ ratio }) => ratio ?? 0));
  const room = Math.max(10, Math.min(60, width - labelWidth - 12));
  const titles = [...new Set(shown.map(titleOf))];
  return titles.flatMap((title) => {
    const bars = shown.filter((row) => titleOf(row) === title);
    const lines = bars.map((row) => {
      const bar = row.ratio === null ? "~" : `${drawn((row.ratio / greatest) * room)} ${row.ratio.toFixed(2)}`;
      return `  ${label(row).padEnd(labelWidth)}  ${bar}`;
    });
    return ["", `× direct, ${title} (more is better)`, ...lines];
  });
}

function titleOf(row: ResultRow): string {
  return `${row.unit}, ${row.topology}, ${loadName(row)}`;
}

function label(row: ResultRow): string {
  return routeName(row).replace(/^[^/]+\//, "");
}

/** At least something for every value, so that a small one is not mistaken for none. */
function drawn(length: number): string {
  const eighths = Math.max(1, Math.round(length * 8));
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
}
