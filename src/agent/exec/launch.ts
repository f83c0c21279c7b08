// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, existsSync, statSync, writeFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { delimiter, join } from "node:path";
import { ShuntError } from "../../util/shunt-error.ts";
import { ownCgroup } from "./scratch-cgroup.ts";

/** POSIX shell conventions, as env(1), nice(1) and timeout(1) keep them. */
export const EXIT_NOT_EXECUTABLE = 126;
export const EXIT_NOT_FOUND = 127;

export class CommandError extends ShuntError<"ERR_EXEC_NOT_FOUND" | "ERR_EXEC_NOT_EXECUTABLE"> {
  get exitCode(): number {
    return this.code === "ERR_EXEC_NOT_FOUND" ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
  }
}

/** Finds what execvp(3) would run, so that the two failures are told apart before anything is set up. */
export function resolveCommand(command: string, path = process.env["PATH"] ?? "/usr/bin:/bin"): string {
  const named = command.includes("/");
  const candidates = named ? [command] : path.split(delimiter).map((dir) => join(dir || ".", command));
  const found = candidates.filter((candidate) => existsSync(candidate) && (named || statSync(candidate).isFile()));
  const executable = found.find(isExecutable);
  if (executable !== undefined) return executable;
  if (found.length > 0) throw new CommandError("ERR_EXEC_NOT_EXECUTABLE", `${command}: not executable`);
  throw new CommandError("ERR_EXEC_NOT_FOUND", `${command}: not found`);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/**
 * Starts the command inside the cgroup. This process enters it for the moment of the fork and leaves again: no socket
 * of the command predates the move, and no shell in between changes its environment or its argv[0].
 */
export function launch(argv: readonly string[], cgroup: string, netnsPath: string | undefined): ChildProcess {
  const [program = "", ...args] = netnsPath === undefined ? argv : ["nsenter", `--net=${netnsPath}`, "--", ...argv];
  const home = ownCgroup();
  // Where we are already; that we may come back is known before we leave.
  enter(home);
  enter(cgroup);
  try {
    return spawn(program, args, { stdio: "inherit" });
  } finally {
    enter(home);
  }
}

/** "0" is the writing process, with all its threads (cgroups(7)). */
function enter(cgroup: string): void {
  try {
    writeFileSync(join(cgroup, "cgroup.procs"), "0");
  } catch (cause) {
    throw new ShuntError("ERR_CGROUP_ENTER", `cannot enter the cgroup ${cgroup}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** The shell's convention: the status, or 128 + the signal's number. */
export function exitStatus(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : osConstants.signals[signal]));
    });
  });
}
