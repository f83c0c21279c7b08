// SPDX-License-Identifier: Apache-2.0
import { BenchError } from "./bench-error.ts";
import { partySeconds, takeCpuSnapshot } from "./machine-cpu.ts";
import { SERVER_ADDRESS } from "./place.ts";
import type { Processes, Surroundings } from "./processes.ts";
import type { Sample } from "./sample.ts";
import { type Load, loadName } from "./scenario.ts";
import { portFor } from "./servers.ts";
import { LOAD_TOOL } from "./tools.ts";

/** What shunt-load prints. */
export interface LoadReport {
  readonly requests: number;
  readonly allRequests: number;
  /** Connections. */
  readonly opened: number;
  readonly errors: number;
  readonly firstError: string | null;
  readonly rate: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly bytesSent: number;
  readonly gbitPerSecond: number;
  readonly distribution?: Sample["distribution"];
}

/** Ports of closed connections stay taken for a while: so many connections, not only so many seconds. */
const MOST_CONNECTIONS = 10_000;
/** Of a latency test: a connection is carried by the proxies first, and accelerated when it has shown that it lasts. */
const WARMUP_PART = 0.5;

/** argv of the load generator for one measurement of this length. */
export function loadArgv(load: Load, seconds: number): readonly string[] {
  const argv = [LOAD_TOOL, SERVER_ADDRESS, String(portFor(load))];
  const common = [
    "-c",
    String(load.connections),
    "-d",
    seconds.toFixed(3),
    ...(load.client === "blocking" ? ["--blocking"] : []),
  ];
  if (load.test === "bulk") return [...argv, "bulk", ...common, "--confirm"];
  const size = ["-s", String(load.bytes)];
  if (load.test === "connect") return [...argv, "connect", ...common, ...size, "-n", String(MOST_CONNECTIONS)];
  return [...argv, "rr", ...common, ...size, "--warmup", (seconds * WARMUP_PART).toFixed(3), "--distribution"];
}

/** Runs the load generator once; throws when a single request fails. */
export async function runLoad(
  processes: Processes,
  where: Surroundings,
  load: Load,
  seconds: number,
): Promise<LoadReport> {
  const { stdout, stderr } = await processes.run(loadArgv(load, seconds), where);
  if (!stdout.startsWith("{")) throw new BenchError("ERR_BENCH_LOAD", `${loadName(load)}: ${stderr.trim()}`);
  const report = JSON.parse(stdout) as LoadReport;
  if (report.errors === 0) return report;
  throw new BenchError(
    "ERR_BENCH_LOAD",
    `${loadName(load)}: ${report.errors} failures, the first: ${report.firstError}`,
  );
}

/** One measurement. */
export async function measure(processes: Processes, where: Surroundings, load: Load, seconds: number): Promise<Sample> {
  const before = takeCpuSnapshot();
  const report = await runLoad(processes, where, load, seconds);
  const cpuSeconds = partySeconds(before, takeCpuSnapshot());
  return sampleOf(load, report, cpuSeconds);
}

export function sampleOf(load: Load, report: LoadReport, cpuSeconds: number): Sample {
  if (load.test === "bulk") {
    const metrics = { throughput: report.gbitPerSecond, cpu: cpuSeconds / (report.bytesSent / 1e9) };
    return { metrics, distribution: [] };
  }
  const { p50, p90, p99, p999, rate, distribution = [] } = report;
  return { metrics: { p50, p90, p99, p999, rate, cpu: cpuSeconds / (report.allRequests / 1e6) }, distribution };
}
