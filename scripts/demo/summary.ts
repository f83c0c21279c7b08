// SPDX-License-Identifier: Apache-2.0
import { barLines } from "./chart.ts";
import { count, type Measured, TITLES } from "./comparison.ts";
import type { DirectionCounts } from "./intercepted.ts";
import { BYTES, loads, type Sample } from "./measure.ts";
import { median, ratios, type Samples } from "./rounds.ts";
import { paint, say, table, unicode } from "./terminal.ts";
import type { WayName } from "./way.ts";

const BAR_WIDTH = 40;
/** A quiet machine repeats itself within a tenth or two. */
const BUSY = 1.5;

/** What is known of one way besides its speed. */
export interface Facts {
  readonly intercepted: DirectionCounts;
  readonly rules: number;
}

/** The table of everything, each way a column. */
export function showSummary(facts: ReadonlyMap<WayName, Facts>, samples: Samples<Measured>): void {
  const ways = [...facts.keys()];
  const row = (title: string, cell: (way: WayName) => string): string[] => [title, ...ways.map(cell)];
  const { kept, fresh } = loads(false);
  const rows = [
    ["", ...ways.map((way) => TITLES[way])],
    row("connections intercepted, outbound", (way) => count(facts.get(way)?.intercepted.outbound)),
    row("connections intercepted, inbound", (way) => count(facts.get(way)?.intercepted.inbound)),
    row("rules in the two namespaces", (way) => count(facts.get(way)?.rules)),
    [`${kept.title}, ${BYTES} bytes each way`],
    ...speedRows(row, samples, (measured) => measured.kept),
    [fresh.title],
    ...speedRows(row, samples, (measured) => measured.fresh),
  ];
  for (const line of table(rows, 1)) say(line);
  if (Math.max(...[...samples.values()].map((rounds) => rounds.length)) > 1) {
    say("  In brackets: the round with the lowest ratio and that with the highest.");
  }
  const busy = busyMachine(samples);
  if (busy !== undefined) say(`  ${busy}`);
  say();
}

function speedRows(
  row: (title: string, cell: (way: WayName) => string) => string[],
  samples: Samples<Measured>,
  of: (measured: Measured) => Sample,
): string[][] {
  const values = (way: WayName, field: keyof Sample): number[] =>
    (samples.get(way) ?? []).map((measured) => of(measured)[field]);
  const ratio = (base: WayName) => (way: WayName) => spread(ratios(values(way, "rate"), values(base, "rate")));
  const rows = [
    row("  requests per second", (way) => count(median(values(way, "rate")))),
    row("  latency p50, microseconds", (way) => count(median(values(way, "p50")))),
    row("  latency p99, microseconds", (way) => count(median(values(way, "p99")))),
    row("  times the rate of direct", ratio("direct")),
  ];
  const others = [...samples.keys()].includes("iptables") && samples.has("ebpf");
  if (others) rows.push(row("  times the rate of iptables", ratio("iptables")));
  return rows;
}

/** Median, and in brackets the lowest and the highest round where they differ. */
function spread(values: readonly number[]): string {
  const [middle, low, high] = [median(values), Math.min(...values), Math.max(...values)].map((n) => n.toFixed(2));
  return low === high ? `${middle}` : `${middle} (${low}-${high})`;
}

/** One sentence when the machine had so much else to do that rates of different rounds cannot be compared. */
function busyMachine(samples: Samples<Measured>): string | undefined {
  const rates = (samples.get("direct") ?? []).map((measured) => measured.kept.rate);
  const [low, high] = [Math.min(...rates), Math.max(...rates)];
  if (high < BUSY * low) return undefined;
  return `The machine is busy: direct alone varied from ${count(low)} to ${count(high)} requests per second. Trust the ratios only.`;
}

/** Bars of the rates, and of the latency that one request in a hundred exceeds. */
export function showChart(samples: Samples<Measured>): void {
  const { kept, fresh } = loads(false);
  chart(`requests per second, ${kept.title}`, samples, (measured) => measured.kept.rate, "");
  chart(`requests per second, ${fresh.title}`, samples, (measured) => measured.fresh.rate, "");
  chart(`latency p99, ${kept.title}`, samples, (measured) => measured.kept.p99, " us");
}

const COLORS = { direct: "gray", ebpf: "green", iptables: "yellow" } as const;

function chart(title: string, samples: Samples<Measured>, of: (measured: Measured) => number, unit: string): void {
  const ways = [...samples.keys()] as WayName[];
  const bars = ways.map((way) => {
    const value = median((samples.get(way) ?? []).map(of));
    return { label: TITLES[way], value, text: `${count(value)}${unit}` };
  });
  say(`  ${title}`);
  barLines(bars, BAR_WIDTH, unicode).forEach((line, index) => {
    say(`    ${paint(COLORS[ways[index] ?? "direct"], line)}`);
  });
  say();
}
