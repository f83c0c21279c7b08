// SPDX-License-Identifier: Apache-2.0
/** From samples to rows. */
import type { Distribution, ResultRow } from "./report.ts";
import type { Sample } from "./sample.ts";
import { type Load, METRICS_OF, type Metric, type Route, unitOf } from "./scenario.ts";
import { judge, median, perRound, spreadOf } from "./statistics.ts";

/** All rounds of one route under one load. */
export interface Series {
  readonly route: Route;
  readonly load: Load;
  readonly samples: Sample[];
}

/** Rows of all series of one group; `base` finds the direct one under the same load. */
export function rowsOf(group: readonly Series[]): readonly ResultRow[] {
  return group.flatMap((series) => {
    const base = group.find(({ route, load }) => route.path === "direct" && load === series.load);
    return METRICS_OF[series.load.test].map((metric) => rowOf(series, base, metric));
  });
}

function rowOf(series: Series, base: Series | undefined, metric: Metric): ResultRow {
  const { route, load } = series;
  const { client, test, connections, bytes } = load;
  const { path, topology, proxies, proxy } = route;
  const values = valuesOf(series, metric);
  const sound = values.filter((_, round) => series.samples[round]?.doubt === undefined);
  const judged = judgedOf(series, values, base === undefined ? [] : valuesOf(base, metric));
  const head = { path, topology, proxies, proxy, client, test, connections, bytes, metric, unit: unitOf(test, metric) };
  return { ...head, median: rounded(median(sound.length > 0 ? sound : values)), ...judged };
}

function judgedOf(
  { route, samples }: Series,
  values: readonly number[],
  bases: readonly number[],
): Pick<ResultRow, "spread" | "ratio" | "why"> {
  if (route.path === "direct") return { spread: rounded(spreadOf(values)), ratio: 1 };
  const ratios = perRound(values, bases);
  // Rounds that did not take the path tell nothing of it.
  const sound = ratios.filter((_, round) => samples[round]?.doubt === undefined);
  const doubt = samples.find((sample) => sample.doubt !== undefined)?.doubt;
  if (doubt !== undefined && sound.length === 0) return { spread: rounded(spreadOf(ratios)), ratio: null, why: doubt };
  const { spread, ratio, why } = judge(sound);
  return {
    spread: rounded(spread),
    ratio: ratio === null ? null : rounded(ratio),
    ...(why === undefined ? {} : { why }),
  };
}

function valuesOf({ samples }: Series, metric: Metric): readonly number[] {
  return samples.map(({ metrics }) => metrics[metric] ?? Number.NaN);
}

/** Four digits that count; JSON has no NaN. */
function rounded(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(4)) : 0;
}

/** The distributions of a group's latency tests. */
export function distributionsOf(group: readonly Series[]): readonly Distribution[] {
  return group.flatMap(({ route, load, samples }) => {
    const [first] = samples;
    if (first === undefined || first.distribution.length === 0) return [];
    const { client, test, connections, bytes } = load;
    const points = first.distribution.map(([part], place): [number, number] => [
      part,
      rounded(median(samples.map(({ distribution }) => distribution[place]?.[1] ?? Number.NaN))),
    ]);
    return [{ ...route, client, test, connections, bytes, points }];
  });
}
