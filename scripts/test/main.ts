// SPDX-License-Identifier: Apache-2.0
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whyUnprivileged } from "../setup/machine.mjs";
import { root } from "../setup/stamp.mjs";
import { runCheck, staticSteps } from "./check-steps.ts";
import { checkGenerated } from "./generated.ts";
import { exitCodeOf, formatLedger, judge, type LedgerEntry } from "./ledger.ts";
import { leftBehind, takeTraces } from "./leftovers.ts";

const vitest = join(root, "node_modules/vitest/vitest.mjs");

/** Runs vitest in the foreground and reads back what it ran. */
async function runVitest(args: readonly string[], env: NodeJS.ProcessEnv): Promise<LedgerEntry[]> {
  // Not called shunt…: the search for leftovers would find it.
  const folder = mkdtempSync(join(tmpdir(), "ledger-of-shunt-"));
  const ledger = join(folder, "ledger.json");
  const reporter = join(root, "scripts/test/ledger-reporter.ts");
  try {
    const command = [vitest, "run", "--reporter=default", `--reporter=${reporter}`, "--passWithNoTests", ...args];
    const child = spawn(process.execPath, command, {
      cwd: root,
      stdio: "inherit",
      env: { ...env, SHUNT_LEDGER: ledger },
    });
    const status = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 128)));
    const entries = existsSync(ledger) ? (JSON.parse(readFileSync(ledger, "utf8")) as LedgerEntry[]) : [];
    const explained = entries.some((entry) => entry.state === "failed");
    if (status !== 0 && !explained) entries.push({ title: `vitest ended with status ${status}`, state: "failed" });
    return entries;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The tests of a project that this machine cannot run, each as a skip with the reason. */
function skipProject(project: string, reason: string): LedgerEntry[] {
  const list = spawnSync(process.execPath, [vitest, "list", "--json", "--project", project], {
    cwd: root,
    encoding: "utf8",
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

const before = takeTraces(mark);
const projects = unprivileged === undefined ? ["unit", "integration", "vm"] : ["unit"];
const ran = await runVitest([...projects.flatMap((project) => ["--project", project]), ...filters], env);
// With -t every other test is "skipped" by vitest itself; those were not asked for.
entries.push(...ran.filter((entry) => !byName || entry.state !== "skipped" || (entry.reason ?? "") !== "").map(judge));
if (unprivileged !== undefined && filters.length === 0) {
  // The sentence begins with what is missing; once is enough for what still works.
  const missing = unprivileged.split(":")[0] ?? unprivileged;
  process.stdout.write(`${unprivileged}\n`);
  entries.push(...skipProject("integration", missing), ...skipProject("vm", missing));
}

const left = leftBehind(before, takeTraces(mark));
for (const line of left) process.stdout.write(`left behind: ${line}\n`);
entries.push({ title: "nothing is left behind on the machine", state: left.length === 0 ? "passed" : "failed" });

process.stdout.write(`\n${formatLedger(entries)}`);
process.exitCode = exitCodeOf(ran.length > 0 || filters.length === 0 ? entries : []);
