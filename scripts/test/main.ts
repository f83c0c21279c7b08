// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { whyUnprivileged } from "../setup/machine.mjs";
import { root } from "../setup/stamp.mjs";
import { runCheck, staticSteps } from "./check-steps.ts";
import { checkGenerated } from "./generated.ts";
import { exitCodeOf, formatLedger, judge, type LedgerEntry } from "./ledger.ts";
import { endAll, leftBehind, takeTraces } from "./leftovers.ts";
import { cutOff, formatSlowest, type Progress } from "./progress.ts";
import { runVitest, vitest } from "./vitest-run.ts";

/** CI ends a run after forty minutes; what ends before can say what kept it. */
const DEADLINE_MINUTES = Number(process.env["SHUNT_TEST_DEADLINE"] ?? "36");
/** For the tests that run then, to take away what they made. */
const CLEAN_UP_MS = 20_000;
/** `npm test` has set things up since. */
const began = Number(process.env["SHUNT_TEST_BEGAN"] ?? Date.now());

/** The tests of a project that this machine cannot run, each as a skip with the reason. */
function skipProject(project: string, reason: string): LedgerEntry[] {
  const list = spawnSync(process.execPath, [vitest, "list", "--json", "--project", project], {
    cwd: root,
    encoding: "utf8",
    timeout: 120_000,
  });
  if (list.status !== 0) return [{ title: `${project} tests cannot be listed`, state: "failed" }];
  const tests = JSON.parse(list.stdout) as { name: string; file: string }[];
  return tests.map((test) => ({
    title: `${test.file.slice(root.length + 1)} > ${test.name}`,
    state: "skipped",
    reason,
  }));
}

const filters = process.argv.slice(2);
const byName = filters.some((filter) => filter === "-t" || filter.startsWith("--testNamePattern"));
const mark = `SHUNT_TEST_RUN=${process.pid}-${Date.now()}`;
const [markName = "", markValue = ""] = mark.split("=");
const env = { ...process.env, [markName]: markValue };
const unprivileged = whyUnprivileged();
const entries: LedgerEntry[] = [];

if (filters.length === 0) {
  for (const step of staticSteps()) entries.push(await runCheck(step));
  entries.push(await checkGenerated());
}

const stop = new AbortController();

/** A filter is for few files; all of them are run in two rows. */
async function runTests(): Promise<Progress[]> {
  const common = { env, stop: stop.signal };
  if (unprivileged !== undefined) return [await runVitest({ ...common, projects: ["unit"], filters })];
  if (filters.length > 0) return [await runVitest({ ...common, projects: ["unit", "integration", "vm"], filters })];
  let beside = "";
  const both = await Promise.all([
    runVitest({ ...common, projects: ["unit", "integration"], lane: "main" }),
    runVitest({ ...common, projects: ["vm", "integration"], lane: "beside", show: (output) => (beside = output) }),
  ]);
  process.stdout.write(`\nBeside these ran:\n${beside}`);
  return both;
}

const before = takeTraces(mark);
let why = "vitest ended before its files";
const leave = began + DEADLINE_MINUTES * 60_000 - Date.now();
const deadline = setTimeout(
  () => {
    why = `the tests were ended after ${DEADLINE_MINUTES} minutes (SHUNT_TEST_DEADLINE)`;
    stop.abort();
    void endAll(mark, CLEAN_UP_MS);
  },
  Math.max(0, leave),
);
const runs = await runTests();
clearTimeout(deadline);
if (stop.signal.aborted) await endAll(mark, CLEAN_UP_MS);
const ran = runs.flatMap((run) => run.entries);
// With -t every other test is "skipped" by vitest itself; those were not asked for.
entries.push(...ran.filter((entry) => !byName || entry.state !== "skipped" || (entry.reason ?? "") !== "").map(judge));
const [cut, ...lines] = cutOff(why, {
  running: runs.flatMap(({ running }) => running),
  waiting: runs.flatMap(({ waiting }) => waiting),
});
if (cut !== undefined) {
  process.stdout.write(`${[cut, ...lines].join("\n")}\n`);
  entries.push({ title: cut, state: "failed" });
}
if (unprivileged !== undefined && filters.length === 0) {
  // The sentence begins with what is missing; once is enough for what still works.
  const missing = unprivileged.split(":")[0] ?? unprivileged;
  process.stdout.write(`${unprivileged}\n`);
  entries.push(...skipProject("integration", missing), ...skipProject("vm", missing));
}

const left = leftBehind(before, takeTraces(mark));
for (const line of left) process.stdout.write(`left behind: ${line}\n`);
entries.push({ title: "nothing is left behind on the machine", state: left.length === 0 ? "passed" : "failed" });

const seconds = new Map(runs.flatMap((run) => [...run.seconds]));
if (filters.length === 0) process.stdout.write(`\nThe slowest files:\n${formatSlowest(seconds, 10)}`);
process.stdout.write(`\n${formatLedger(entries)}`);
process.exitCode = exitCodeOf(ran.length > 0 || filters.length === 0 ? entries : []);
