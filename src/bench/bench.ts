// SPDX-License-Identifier: Apache-2.0
/** `shunt bench`: the whole comparison. */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePrivileges } from "../agent/require-privileges.ts";
import { version } from "../agent/version.ts";
import { AwakeCpus } from "./awake-cpus.ts";
import { BenchError } from "./bench-error.ts";
import type { BenchOptions } from "./bench-options.ts";
import { GroupRun } from "./group-run.ts";
import { Interruption } from "./interruption.ts";
import { possiblePart } from "./lacking-parts.ts";
import { benchName, removeOrphans } from "./leftovers.ts";
import { describeMachine } from "./machine.ts";
import { fullPlan, narrowPlan, type Plan, paceOf, quickPlan } from "./plan.ts";
import { Processes } from "./processes.ts";
import type { BenchReport, Distribution, ResultRow } from "./report.ts";
import { distributionsOf, rowsOf } from "./results.ts";
import type { Topology } from "./scenario.ts";
import { requireTools } from "./tools.ts";

/** Compares what can be compared here. Whatever it makes is gone when it ends, however it ends. */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  requirePrivileges("bench");
  requireTools();
  const startedMs = performance.now();
  const time = new Date().toISOString();
  using awake = new AwakeCpus();
  const machine = describeMachine(awake.hindrance === undefined);
  if (awake.hindrance !== undefined) options.onProgress(`CPUs may sleep between requests: ${awake.hindrance}`);
  const wanted = planOf(options);
  using interruption = new Interruption(options.signal);
  const folder = join(tmpdir(), benchName());
  try {
    const processes = new Processes(interruption.signal);
    for (const name of await removeOrphans(processes))
      options.onProgress(`removed ${name}, which a killed bench had left`);
    mkdirSync(folder);
    // Other proxies run as users of their own, and nginx writes a file with its pid.
    chmodSync(folder, 0o1777);
    const { plan, proxies, lacking: impossible } = await possiblePart(processes, wanted, folder);
    const lacking = [...impossible];
    const results: ResultRow[] = [];
    const distributions: Distribution[] = [];
    const failed: string[] = [];
    const taken: Record<string, string> = {};
    const told = new Set<Topology | undefined>();
    let rounds = Number.POSITIVE_INFINITY;
    for (const [index, group] of plan.groups.entries()) {
      await using run = new GroupRun(processes, group, {
        name: `${benchName()}-${index}`,
        folder,
        proxies,
        seconds: plan.seconds,
        onProgress: options.onProgress,
        pace: (done, roundSeconds) => paceOf(plan, done, roundSeconds, (performance.now() - startedMs) / 1000),
      });
      await run.run();
      // Direct is measured in each group for its ratios, and told once for each topology.
      const news = run.series.filter(({ route }) => route.path !== "direct" || !told.has(route.topology));
      results.push(...rowsOf(run.series).filter((row) => row.path !== "direct" || !told.has(row.topology)));
      distributions.push(...distributionsOf(news));
      told.add(group.routes[0]?.topology);
      failed.push(...run.failed);
      lacking.push(...run.lacking);
      Object.assign(taken, run.taken);
      rounds = Math.min(rounds, run.rounds);
    }
    return {
      version,
      time,
      quick: options.quick,
      only: options.only?.source ?? null,
      seconds: Math.round((performance.now() - startedMs) / 1000),
      rounds,
      machine,
      programs: Object.fromEntries([...proxies].map(([name, program]) => [name, program.version])),
      results,
      distributions,
      taken,
      lacking,
      failed,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function planOf({ quick, only }: BenchOptions): Plan {
  const whole = quick ? quickPlan() : fullPlan();
  const plan = only === undefined ? whole : narrowPlan(whole, only);
  if (plan.groups.length > 0) return plan;
  throw new BenchError("ERR_BENCH_PLAN", `--only ${only?.source}: nothing of what is compared has such a name`);
}
