// SPDX-License-Identifier: Apache-2.0
// Two namespaces, real programs, one proxy between them; see docs/demo.md. Started by scripts/demo.mjs.
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { ProbeReport } from "../../src/config/formats/probe.ts";
import { SHUNT } from "./agent.ts";
import { chooseModes } from "./choose-modes.ts";
import { compare, describeLoads, TITLES } from "./comparison.ts";
import { DemoFailure } from "./failure.ts";
import { countDirections } from "./intercepted.ts";
import { Interrupted, untilInterrupted } from "./interruption.ts";
import { leftoversOf, removeOrphans } from "./leftovers.ts";
import { Processes } from "./processes.ts";
import { listRules, totalRules } from "./rules.ts";
import { showScene } from "./scene.ts";
import { type Facts, showChart, showSummary } from "./summary.ts";
import { paint, phase, progress, say, table } from "./terminal.ts";
import { Way, type WayName, Ways } from "./way.ts";

const USAGE = "npm run demo [-- --quick]: --quick measures one short round only";
const id = `shunt-demo-${process.pid}`;
const mark = `SHUNT_DEMO=${id}`;
const folder = join(tmpdir(), id);
const signal = untilInterrupted();
const startedMs = performance.now();

function heading(text: string): void {
  say(paint("bold", text));
}

function readOptions(): { readonly quick: boolean } {
  try {
    const { values } = parseArgs({ options: { quick: { type: "boolean" } } });
    return { quick: values.quick === true };
  } catch (error) {
    throw new DemoFailure(`${(error as Error).message}; ${USAGE}`, 2);
  }
}

async function probe(processes: Processes): Promise<ReturnType<typeof chooseModes>> {
  phase("asking the kernel what it can do (shunt probe)");
  const { stdout, stderr } = await processes.run([...SHUNT, "probe", "--json"], { toItsEnd: true });
  if (!stdout.startsWith("{")) throw new DemoFailure(`shunt probe: ${stderr.trim()}`);
  const chosen = chooseModes(JSON.parse(stdout) as ProbeReport);
  if (chosen.modes.length === 0) throw new DemoFailure(chosen.excuses.join(" "), 69);
  for (const excuse of chosen.excuses) say(excuse);
  return chosen;
}

function introduce({ pair: { red, blue } }: Way): void {
  heading("Two network namespaces joined by a cable (veth); nothing in them knows of Shunt");
  const rows = [
    ["red", red.v4, red.v6, "runs a Node server on port 8080"],
    ["blue", blue.v4, blue.v6, "runs python3 -m http.server on port 8000 and an echo server on port 7000"],
  ];
  for (const line of table(rows)) say(line);
  say("  The pair exists once for every mode and once without Shunt, so that no mode finds traces of another.");
  say();
}

async function show(processes: Processes, quick: boolean): Promise<void> {
  const { modes } = await probe(processes);
  await using ways = new Ways();
  const facts = new Map<WayName, Facts>();
  for (const name of ["direct", ...modes] as const) {
    phase(`making the namespaces for ${TITLES[name]} and starting what runs in them`);
    const way = await Way.start(processes, name, id, folder);
    ways.all.push(way);
    if (way.agent === undefined) {
      introduce(way);
      const rules = totalRules(await listRules(processes, way.pair));
      facts.set(name, { intercepted: countDirections([]), rules });
      continue;
    }
    heading(
      `${TITLES[name]} mode: one agent (shunt run) intercepts red and blue, ready after ${way.agent.readyMs.toFixed(0)} ms`,
    );
    const rules = totalRules(await showScene(processes, way, way.agent, signal));
    facts.set(name, { intercepted: countDirections(way.agent.records()), rules });
  }

  heading("Speed on this machine, now");
  for (const line of describeLoads(quick)) say(`  ${line}`);
  const samples = await compare(processes, ways, quick);
  say();
  progress("stopping the agents");
  for (const { name, agent } of ways.all) {
    if (agent === undefined) continue;
    await agent.stop();
    const intercepted = countDirections(agent.records());
    facts.set(name, { intercepted, rules: facts.get(name)?.rules ?? 0 });
  }
  signal.throwIfAborted();
  heading(quick ? "Summary (one short round: a glance, no measurement)" : "Summary (medians of 5 rounds)");
  showSummary(facts, samples);
  showChart(samples);
}

async function main(): Promise<void> {
  const { quick } = readOptions();
  signal.addEventListener("abort", () => say(`${(signal.reason as Interrupted).message}; cleaning up`));
  const processes = new Processes(mark, signal);
  try {
    const orphans = await removeOrphans(processes);
    if (orphans.length > 0) say(`Removed what a killed demo had left: ${orphans.join(", ")}.`);
    mkdirSync(folder);
    await show(processes, quick);
    signal.throwIfAborted();
  } finally {
    progress("cleaning up");
    rmSync(folder, { recursive: true, force: true });
    const left = leftoversOf(id, mark);
    for (const line of left) say(`left behind: ${line}`);
    if (left.length > 0) process.exitCode = 1;
    else say("Everything is gone again: namespaces, servers, agents, BPF programs, rules and files.");
  }
  say(`The demo took ${((performance.now() - startedMs) / 1000).toFixed(0)} s.`);
}

try {
  await main();
} catch (error) {
  if (error instanceof Interrupted) process.exitCode ??= error.exitCode;
  else if (error instanceof DemoFailure) {
    process.exitCode = error.exitCode;
    process.stderr.write(`${error.message}\n`);
  } else throw error;
}
