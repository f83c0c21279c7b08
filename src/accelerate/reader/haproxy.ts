// SPDX-License-Identifier: Apache-2.0
/**
 * HAProxy can always call splice(2) and does so only where its configuration says `option splice-auto`,
 * `splice-request` or `splice-response` (Configuration Manual, section 4.2). Whether it says so is read from the files
 * that its command line names, if they have not changed since it was started.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { basename, isAbsolute, join } from "node:path";
import { startOf } from "./process-times.ts";

const LARGEST_FILE = 16 * 1024 * 1024;
/** How much later a file may seem to be than the process that has read it: the clock of /proc ticks. */
const TICKS_MS = 50;

export function isHaproxy(executable: string): boolean {
  return basename(executable).replace(/ \(deleted\)$/, "") === "haproxy";
}

/** Whether it is certain that this process of HAProxy never calls splice(2). */
export function neverSplices(pid: number): boolean {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").slice(1, -1);
    if (args.includes("-dS")) return true;
    const named = configurationFiles(args);
    const texts = named && readAll(pid, named);
    return texts !== undefined && texts.length > 0 && isWithoutSplice(texts);
  } catch {
    return false;
  }
}

/** Undefined where the command line is not understood. */
export function configurationFiles(args: readonly string[]): string[] | undefined {
  const files: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i];
    // Relative names lead somewhere else then.
    if (arg === "-C") return undefined;
    if (arg === "--") return [...files, ...args.slice(i + 1)];
    if (arg !== "-f") continue;
    const file = args[++i];
    if (file === undefined) return undefined;
    files.push(file);
  }
  return files;
}

/** Whether none of these files asks for it; what could say it by a variable or in quotes is taken to ask for it. */
export function isWithoutSplice(texts: readonly string[]): boolean {
  const lines = texts
    .flatMap((text) => text.replaceAll("\\\n", " ").split("\n"))
    .map((line) => line.trim())
    .filter((line) => !line.startsWith("#"));
  if (lines.some((line) => /^nosplice\b/.test(line))) return true;
  return !lines.some((line) => line.includes("splice") || (/\boption\b/.test(line) && /["'$\\]/.test(line)));
}

/** Undefined where one cannot be read as the process has read it. */
function readAll(pid: number, names: readonly string[]): string[] | undefined {
  const started = startOf(pid) + TICKS_MS;
  const read = (path: string): string[] | undefined => {
    const { ctimeMs, size } = statSync(path);
    if (ctimeMs > started || size > LARGEST_FILE) return undefined;
    return [readFileSync(path, "latin1")];
  };
  const texts: string[] = [];
  for (const name of names) {
    const path = reach(pid, name);
    // A folder stands for the files in it.
    const found = statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((file) => file.endsWith(".cfg"))
          .map((file) => join(path, file))
      : [path];
    if (statSync(path).isDirectory() && statSync(path).ctimeMs > started) return undefined;
    for (const file of found) {
      const text = read(file);
      if (text === undefined) return undefined;
      texts.push(...text);
    }
  }
  return texts;
}

/** The file as seen from the process; a worker that has changed its root is asked by its master. */
function reach(pid: number, name: string): string {
  for (const seer of [pid, masterOf(pid)]) {
    if (seer === undefined) continue;
    const path = isAbsolute(name) ? join(`/proc/${seer}/root`, name) : join(`/proc/${seer}/cwd`, name);
    if (statSync(path, { throwIfNoEntry: false })) return path;
  }
  throw new Error(`${name} is nowhere`);
}

/** The parent, if it is the same program. */
function masterOf(pid: number): number | undefined {
  const parent = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
  if (!(parent > 1)) return undefined;
  return readlinkSync(`/proc/${parent}/exe`) === readlinkSync(`/proc/${pid}/exe`) ? parent : undefined;
}
