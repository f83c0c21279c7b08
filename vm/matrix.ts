// SPDX-License-Identifier: Apache-2.0
// npm run test:vm: every cell under every kernel of kernels.json and under the machine's own; docs/kernels.md says more.
// Exit: 0, 1 for failing tests, 2 for wrong arguments, 69 when a VM cannot be had. The last line counts.
import { writeFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { whyUnprivileged } from "../scripts/setup/machine.mjs";
import { startProgress } from "../scripts/setup/progress.mjs";
import { proveAccelerator } from "./accelerator.ts";
import { judgeCells, type Verdict } from "./cells.ts";
import { fetchKernel } from "./fetch-kernel.ts";
import { cellsInVm, cellsOnHost } from "./guest-run.ts";
import { type Boot, type Expectation, readKernelList } from "./kernel-list.ts";
import { ownKernel } from "./own-kernel.ts";
import { type Emulator, fetchEmulator, type Kernel } from "./parts.ts";
import { formatJunit, formatTable } from "./report.ts";
import { type KernelResult, keepResult, keptResults, outputFolder, shownColumns, writeTable } from "./results.ts";
import { toolVersions } from "./tool-versions.ts";
import { VmUnavailable } from "./unavailable.ts";

const HOST = "host";
const ACCELERATORS = ["tcg", "kvm", "auto"];
/** A column under TCG on a machine that is busy with other things. */
const TIMEOUT_MS = 20 * 60_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

const usage = `usage: npm run test:vm -- [--kernel NAME|FILE]… [--modules DIR] [--filter CELL] [--keep] [--accel tcg|kvm|auto] [--jobs N] [--refresh]
NAME is one of ${[HOST, ...readKernelList().map(({ name }) => name)].join(", ")}; FILE is a bzImage.\n`;

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        kernel: { type: "string", multiple: true, default: [] },
        modules: { type: "string" },
        filter: { type: "string", default: "" },
        keep: { type: "boolean", default: false },
        accel: { type: "string", default: process.env["SHUNT_VM_ACCEL"] ?? "auto" },
        jobs: { type: "string", default: String(availableParallelism()) },
        refresh: { type: "boolean", default: false },
      },
    });
    if (!ACCELERATORS.includes(values.accel))
      throw new Error(`--accel ${values.accel}: not one of ${ACCELERATORS.join(", ")}`);
    if (!/^[1-9]\d*$/.test(values.jobs)) throw new Error(`--jobs ${values.jobs}: not a number of guests`);
    if (values.keep && values.kernel.length !== 1) throw new Error("--keep: one --kernel has to be named");
    return values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}

const options = readArguments();
const jobs = Number(options.jobs);
const list = readKernelList();
const known = [...list.map(({ name }) => name), HOST];

/** A column of the table, before it has run. */
interface Column {
  readonly name: string;
  readonly expected: Partial<Expectation>;
  /** Undefined for the machine's own. */
  readonly fetch?: (emulator: Emulator) => Promise<Kernel>;
  readonly boot?: Boot | undefined;
  /** Cells that make sense; all when absent. */
  readonly cells?: readonly string[] | undefined;
}

function columnNamed(name: string): Column {
  if (name === HOST) return { name, expected: {} };
  const entry = list.find((kernel) => kernel.name === name);
  if (entry === undefined) {
    const kernel = ownKernel(name, options.modules);
    return { name: kernel.release, expected: {}, fetch: async () => kernel };
  }
  const fetch = (emulator: Emulator): Promise<Kernel> => fetchKernel(entry, emulator, options.refresh);
  const { expected, boot, cells } = entry;
  return { name, expected, fetch, boot, cells };
}

let accelerator: Promise<"tcg" | "kvm"> | undefined;

/** Proven once a run, with the first kernel that is booted. */
function acceleratorFor(kernel: Kernel, emulator: Emulator): Promise<"tcg" | "kvm"> {
  if (options.accel !== "auto") return Promise.resolve(options.accel as "tcg" | "kvm");
  accelerator ??= findAccelerator(kernel, emulator);
  return accelerator;
}

async function findAccelerator(kernel: Kernel, emulator: Emulator): Promise<"tcg" | "kvm"> {
  const progress = startProgress("try KVM");
  const { name, why } = await proveAccelerator(kernel, emulator);
  progress.end(`${name === "kvm" ? "used" : "guests are emulated"}: ${why}`);
  return name;
}

/** Boots the kernel, or none for the machine's own, and runs the cells. */
async function runCells(column: Column, emulator: Emulator | undefined) {
  const filter = options.filter === "" ? (column.cells ?? []) : options.filter.split(" ");
  const guest = { filter, timeoutMs: TIMEOUT_MS, keep: options.keep };
  if (column.fetch === undefined || emulator === undefined) {
    return {
      cells: await cellsOnHost(column.name, { ...guest, accelerator: HOST }),
      accelerator: HOST,
      release: release(),
    };
  }
  const fetching = startProgress(`${column.name}: fetch`);
  const kernel = await column.fetch(emulator).finally(() => fetching.end("done"));
  const chosen = await acceleratorFor(kernel, emulator);
  const cells = await cellsInVm(column.name, kernel, emulator, {
    ...guest,
    accelerator: chosen,
    ...(column.boot === undefined ? {} : { boot: column.boot }),
  });
  return { cells, accelerator: chosen, release: kernel.release };
}

async function runColumn(column: Column, emulator: Emulator | undefined): Promise<KernelResult> {
  const began = Date.now();
  const { cells, ...about } = await runCells(column, emulator);
  const { verdicts, probe } = judgeCells(cells, column.expected);
  const failed = verdicts.filter(({ state }) => state === "failed");
  for (const { name, detail } of failed)
    process.stdout.write(`${column.name}: ${name} FAILED\n${detail.replaceAll(/^/gm, "    ")}\n`);
  return {
    name: column.name,
    ...about,
    mode: probe?.mode ?? "unknown",
    tier: probe?.tier ?? null,
    reason: probe?.reason ?? "the probe told nothing",
    date: new Date().toISOString(),
    seconds: (Date.now() - began) / 1000,
    tools: await toolVersions(emulator),
    verdicts,
  };
}

async function main(): Promise<number> {
  const began = Date.now();
  const unprivileged = whyUnprivileged();
  if (unprivileged !== undefined) throw new VmUnavailable(unprivileged);
  const columns = (options.kernel.length > 0 ? options.kernel : known).map(columnNamed);
  const emulator = columns.some(({ fetch }) => fetch !== undefined) ? await fetchEmulator() : undefined;
  const results: KernelResult[] = [];
  let trouble = 0;
  const place = ({ name }: KernelResult): number => columns.findIndex((column) => column.name === name);
  const run = async (column: Column): Promise<void> => {
    try {
      const result = await runColumn(column, emulator);
      results.push(result);
      if (known.includes(result.name)) keepResult(result, options.filter !== "");
    } catch (error) {
      if (!(error instanceof VmUnavailable)) throw error;
      // The other kernels can still tell something.
      process.stdout.write(`${column.name}: ${error.message}\n`);
      trouble++;
    }
  };
  // An emulated guest keeps one core busy. Those that take longest come first.
  const waiting = [...columns].sort((one, other) => (one.cells ? 1 : 0) - (other.cells ? 1 : 0));
  const worker = async (): Promise<void> => {
    for (let column = waiting.shift(); column !== undefined; column = waiting.shift()) await run(column);
  };
  await Promise.all(Array.from({ length: options.keep ? 1 : jobs }, worker));
  results.sort((one, other) => place(one) - place(other));
  const folder = outputFolder();
  writeFileSync(join(folder, "junit.xml"), formatJunit(results));
  writeFileSync(join(folder, "kernels.md"), formatTable(results));
  // In a fresh clone one column must not take the place of a table that has more.
  const kept = keptResults(known);
  const columnsKept = new Set(kept.map(({ name }) => name));
  if (shownColumns().every((name) => columnsKept.has(name) || !known.includes(name))) writeTable(formatTable(kept));
  const status = conclude(results, began);
  return status === 0 && trouble > 0 ? 69 : status;
}

function conclude(results: readonly KernelResult[], began: number): number {
  const count = (state: Verdict["state"]): number =>
    results.flatMap(({ verdicts }) => verdicts).filter((verdict) => verdict.state === state).length;
  process.stdout.write(`\n${formatTable(results)}\n`);
  process.stdout.write(`total ${((Date.now() - began) / 1000).toFixed(0)} s; JUnit and table in .cache/vm\n`);
  const choices = results.map(({ name, mode, tier }) => `${name}: mode ${mode}, tier ${tier ?? "none"}`);
  process.stdout.write(`${choices.join("; ")}\n`);
  process.stdout.write(`${count("passed")} passed, ${count("failed")} failed, ${count("skipped")} skipped\n`);
  return count("failed") > 0 ? 1 : 0;
}

for (const [signal, number] of [
  ["SIGINT", 2],
  ["SIGTERM", 15],
  ["SIGHUP", 1],
] as const)
  process.once(signal, () => process.exit(128 + number));

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof VmUnavailable)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 69;
}
