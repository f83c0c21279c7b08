// SPDX-License-Identifier: Apache-2.0
/** All cells of one kernel, in a VM or, for the machine's own kernel, beside it. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import { startProgress } from "../scripts/setup/progress.mjs";
import { root } from "../scripts/setup/stamp.mjs";
import { type Cell, cellReader } from "./cells.ts";
import type { Boot } from "./kernel-list.ts";
import type { Emulator, Kernel } from "./parts.ts";
import { runInVm } from "./qemu.ts";
import { VmUnavailable } from "./unavailable.ts";

export interface GuestOptions {
  /** Words of which one has to be in a cell's name; any name will do when there is none. */
  readonly filter: readonly string[];
  readonly accelerator: string;
  readonly timeoutMs: number;
  /** Leaves the guest running with a shell on our standard input. */
  readonly keep: boolean;
  readonly boot?: Boot;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Shows each cell while it runs and keeps what it said. */
function watchCells(label: string): {
  token: string;
  cells: Cell[];
  take: (line: string) => void;
  open: () => string | undefined;
} {
  const token = randomBytes(8).toString("hex");
  const cells: Cell[] = [];
  let progress: ReturnType<typeof startProgress> | undefined;
  let name: string | undefined;
  const onBegin = (begun: string): void => {
    name = begun;
    progress = startProgress(`${label}: ${begun}`);
  };
  const onEnd = (cell: Cell): void => {
    cells.push(cell);
    name = undefined;
    progress?.end(cell.status === 0 ? "passed" : cell.status === 77 ? "skipped" : "FAILED");
  };
  return { token, cells, take: cellReader(token, onBegin, onEnd), open: () => name };
}

/** A cell that the guest did not live to end is a failure of that cell. */
function closeOpen(watched: ReturnType<typeof watchCells>, why: string): Cell[] {
  const name = watched.open() ?? "the guest";
  return [...watched.cells, { name, status: 1, seconds: 0, output: why }];
}

export async function cellsInVm(
  label: string,
  kernel: Kernel,
  emulator: Emulator,
  options: GuestOptions,
): Promise<Cell[]> {
  const watched = watchCells(label);
  const boot = startProgress(`${label}: boot Linux ${kernel.release} (${options.accelerator})`);
  let booted = false;
  const prepare = options.boot?.prepare === undefined ? "" : `${options.boot.prepare}; `;
  const run = `${prepare}sh vm/tests/run.sh ${[watched.token, ...options.filter].map(quoted).join(" ")}`;
  // The shell's end is the guest's: a serial line has no end of file.
  const shell = `${run}; echo ${watched.token} shell; exec sh </dev/ttyS1`;
  const take = (line: string): void => {
    if (line === `${watched.token} shell`) process.stdout.write("A shell in the guest; `exit` ends it.\n");
    else if (options.keep && watched.open() === undefined && !line.startsWith(watched.token))
      process.stdout.write(`${line}\n`);
    watched.take(line);
  };
  try {
    await runInVm(kernel, emulator, {
      command: options.keep ? shell : run,
      timeoutMs: options.keep ? 2 ** 31 - 1 : options.timeoutMs,
      accelerator: options.accelerator,
      ...(options.boot === undefined ? {} : { boot: options.boot }),
      ...(options.keep ? { input: process.stdin } : {}),
      onBegin: () => {
        booted = true;
        boot.end("up");
      },
      onLine: take,
    });
    return watched.cells;
  } catch (error) {
    if (!booted) boot.end("failed");
    if (error instanceof VmUnavailable) throw error;
    return closeOpen(watched, (error as Error).message);
  }
}

export async function cellsOnHost(label: string, { filter, timeoutMs }: GuestOptions): Promise<Cell[]> {
  const watched = watchCells(label);
  const script = ["sh", "vm/tests/on-host.sh", watched.token, ...filter];
  // Killed with everything below it: the first process of a PID namespace takes the others along.
  const isolated = ["unshare", "--mount", "--net", "--propagation", "private", "--pid", "--fork", "--kill-child"];
  const args = ["--pdeathsig", "KILL", "--", ...isolated, "--mount-proc", ...script];
  const child = spawn("setpriv", args, { cwd: root, stdio: ["ignore", "pipe", "inherit"], timeout: timeoutMs });
  const ended = new Promise<number | null>((resolve) => {
    child.once("error", () => resolve(null));
    child.once("close", resolve);
  });
  for await (const line of createInterface({ input: child.stdout })) watched.take(line);
  const status = await ended;
  return status === 0 && watched.open() === undefined
    ? watched.cells
    : closeOpen(watched, `vm/tests/on-host.sh ended with ${status ?? "a signal"}`);
}
