// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of programs to be the only one in PATH: links to those of the machine, and scripts in place of some. */
export class ProgramFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "shunt-test-bin-"));

  /** Links `name` to the machine's program of the same name, or to `target`. */
  link(name: string, target = name): this {
    symlinkSync(whereIs(target), join(this.path, name));
    return this;
  }

  /** A shell script of that name; `$REAL` is the machine's program. */
  script(name: string, lines: readonly string[]): this {
    const file = join(this.path, name);
    writeFileSync(file, ["#!/bin/sh", `REAL=${whereIs(name)}`, ...lines, ""].join("\n"));
    chmodSync(file, 0o755);
    return this;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

export function whereIs(program: string): string {
  return execFileSync("sh", ["-c", 'command -v "$0"', program], { encoding: "utf8" }).trim();
}

/** Wrappers that kill the node process that called them, right after their nth change of the machine. */
export class KillingPrograms implements Disposable {
  readonly folder = new ProgramFolder();
  readonly #count = join(this.folder.path, "count");

  constructor(programs: readonly string[]) {
    for (const program of programs) {
      this.folder.script(program, [
        // Who asks, and what runs in a scratch namespace, is let through.
        'case "$* " in *--version*|*" show"*) exec "$REAL" "$@";; esac',
        '[ "$(cat /proc/$PPID/comm)" = "$KILLED_COMM" ] || exec "$REAL" "$@"',
        '"$REAL" "$@"; status=$?',
        `n=$(($(cat ${this.#count}) + 1)); echo $n > ${this.#count}`,
        '[ "$n" = "$KILL_AFTER" ] && kill -KILL $PPID',
        "exit $status",
      ]);
    }
    this.reset();
  }

  reset(): void {
    writeFileSync(this.#count, "0");
  }

  get changes(): number {
    return existsSync(this.#count) ? Number(readFileSync(this.#count, "utf8")) : 0;
  }

  environment(killAfter: number): NodeJS.ProcessEnv {
    const PATH = `${this.folder.path}:${process.env["PATH"]}`;
    // What /proc shows of a node process: the name of its executable, or of its main thread.
    return {
      ...process.env,
      PATH,
      KILL_AFTER: String(killAfter),
      KILLED_COMM: readFileSync("/proc/self/comm", "utf8").trim(),
    };
  }

  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
  }
}
