// SPDX-License-Identifier: Apache-2.0
import type { ResultRow } from "./report.ts";
import { routeName } from "./scenario.ts";
import { at, COLORS, text } from "./svg.ts";

const WIDTH = 760;
const LINE = 24;
const LABELS = 200;
const NUMBERS = 70;

/** Ratios to direct of one metric under one load: a bar for each route, its spread as a whisker, direct as a line at 1. */
export function barPlot(rows: readonly ResultRow[]): string {
  const reach = rows.map(({ ratio, spread }) => (ratio === null ? 0 : ratio * (1 + spread / 2)));
  const greatest = Math.max(1, ...reach);
  const x = (ratio: number): number => LABELS + (ratio / greatest) * (WIDTH - LABELS - NUMBERS);
  const bars = rows.map((row, index) => {
    const top = index * LINE + 4;
    const label = text(LABELS - 8, top + 13, routeName(row).replace(/^[^/]+\//, ""), "end");
    if (row.ratio === null) return label + `<g class="hidden">${text(LABELS + 4, top + 13, row.why ?? "")}</g>`;
    const [low, high] = [row.ratio * (1 - row.spread / 2), row.ratio * (1 + row.spread / 2)];
    const middle = top + 8;
    return [
      label,
      `<rect x="${LABELS}" y="${top}" width="${at(x(row.ratio) - LABELS)}" height="16" fill="${COLORS[row.path]}"/>`,
      `<line class="whisker" x1="${at(x(low))}" x2="${at(x(high))}" y1="${middle}" y2="${middle}"/>`,
      text(x(high) + 6, top + 13, `× ${row.ratio.toFixed(2)}`),
    ].join("");
  });
  const height = rows.length * LINE + 4;
  const one = `<line class="one" x1="${at(x(1))}" x2="${at(x(1))}" y1="0" y2="${height}"/>`;
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="ratios to direct">\n${[...bars, one].join("\n")}\n</svg>`;
}
