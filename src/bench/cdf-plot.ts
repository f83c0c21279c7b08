// SPDX-License-Identifier: Apache-2.0
import type { Distribution } from "./report.ts";
import { routeName } from "./scenario.ts";
import { at, strokeOf, text } from "./svg.ts";

const WIDTH = 760;
const HEIGHT = 320;
const LEFT = 52;
const TOP = 10;
const BOTTOM = HEIGHT - 36;
const LEGEND_LINE = 18;

/** Latency against the part of the requests that were faster, on a logarithmic axis; a line for each route. */
export function cdfPlot(distributions: readonly Distribution[]): string {
  const values = distributions.flatMap(({ points }) => points.map(([, us]) => us)).filter((us) => us > 0);
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
  const x = (us: number): number => LEFT + ((Math.log10(us) - low) / Math.max(1, high - low)) * (WIDTH - LEFT - 10);
  const y = (part: number): number => BOTTOM - part * (BOTTOM - TOP);
  const grid = [
    ...range(low, high).flatMap((power) => [
      `<line class="grid" x1="${at(x(10 ** power))}" x2="${at(x(10 ** power))}" y1="${TOP}" y2="${BOTTOM}"/>`,
      text(x(10 ** power), BOTTOM + 16, duration(10 ** power), "middle"),
    ]),
    ...[0, 0.25, 0.5, 0.75, 1].flatMap((part) => [
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - 10}" y1="${at(y(part))}" y2="${at(y(part))}"/>`,
      text(LEFT - 6, y(part) + 4, `${part * 100} %`, "end"),
    ]),
  ];
  const lines = distributions.map((distribution) => {
    const points = distribution.points
      .filter(([, us]) => us > 0)
      .map(([part, us]) => `${at(x(us))},${at(y(part))}`)
      .join(" ");
    return `<polyline class="line" ${strokeOf(distribution)} points="${points}"><title>${routeName(distribution)}</title></polyline>`;
  });
  const legend = distributions.map((distribution, index) => {
    const top = HEIGHT + index * LEGEND_LINE;
    const sample = `<line class="line" ${strokeOf(distribution)} x1="${LEFT}" x2="${LEFT + 40}" y1="${top}" y2="${top}"/>`;
    return sample + text(LEFT + 50, top + 4, routeName(distribution));
  });
  const height = HEIGHT + distributions.length * LEGEND_LINE;
  const content = [...grid, ...lines, ...legend].join("\n");
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="latency distribution">\n${content}\n</svg>`;
}

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function duration(us: number): string {
  if (us >= 1_000_000) return `${us / 1_000_000} s`;
  return us >= 1000 ? `${us / 1000} ms` : `${us} µs`;
}
