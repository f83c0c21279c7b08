// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Bpffs } from "../../src/bpf/bpffs.ts";
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { eventually, patienceMs } from "./inbox.ts";

/** The built program: what a user runs. */
const SHUNT_MAIN = resolve(import.meta.dirname, "../../dist/main.js");

interface ExecOutcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
  /** Lines of --record, read the moment `shunt exec` has returned. */
  readonly records: readonly ConnectionRecord[];
}

interface ExecSettings {
  /** argv that leads there, when the whole of `shunt exec` is to run elsewhere. */
  readonly within?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | null;
  /** False: without --record. */
  readonly record?: boolean;
}

/** One `shunt exec` of the built program, its streams as bytes came. */
export class ExecRun implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-exec-`));
  readonly child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #waiting = new Set<() => void>();
  #out = "";
  #err = "";

  /** `args` are those after `exec`; a record file is added. */
  constructor(args: readonly string[], { within = [], env, stdin, record = true }: ExecSettings = {}) {
    const recording = record ? ["--record", this.recordFile] : [];
    const [program = "", ...rest] = [...within, process.execPath, SHUNT_MAIN, "exec", ...recording, ...args];
    this.child = spawn(program, rest, {
      stdio: [stdin === null ? "ignore" : "pipe", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#came((this.#out += text)));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#came((this.#err += text)));
    this.child.stdin?.on("error", () => {});
    if (typeof stdin === "string") this.child.stdin?.end(stdin);
    this.#closed = once(this.child, "close");
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get out(): string {
    return this.#out;
  }

  get err(): string {
    return this.#err;
  }

  get recordFile(): string {
    return join(this.folder, "record.jsonl");
  }

  get records(): ConnectionRecord[] {
    if (!existsSync(this.recordFile)) return [];
    const lines = readFileSync(this.recordFile, "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as ConnectionRecord);
  }

  /** Resolves when it has begun to set up: from here on signals are handled. */
  async lives(): Promise<void> {
    await eventually(() => existsSync(`/run/shunt/exec-${this.pid}/state.json`));
  }

  /** Resolves when standard output matches. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((done, reject) => {
      const look = (): void => {
        const match = pattern.exec(this.#out);
        if (!match) return;
        clearTimeout(deadline);
        this.#waiting.delete(look);
        done(match);
      };
      const give = (): void => {
        clearTimeout(deadline);
        this.#waiting.delete(look);
        reject(new Error(`${pattern} was not printed; out: ${this.#out} err: ${this.#err}`));
      };
      const deadline = setTimeout(give, patienceMs(20_000));
      // Rejects nothing that has been resolved.
      void this.#closed.then(give);
      this.#waiting.add(look);
      look();
    });
  }

  /** Resolves when `shunt exec` has returned. */
  async outcome(): Promise<ExecOutcome> {
    const records = new Promise<ConnectionRecord[]>((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) resolve(this.records);
      else this.child.once("exit", () => resolve(this.records));
    });
    const impatience = setTimeout(() => this.child.kill("SIGTERM"), patienceMs(40_000));
    await this.#closed;
    clearTimeout(impatience);
    const { exitCode: status, signalCode: signal } = this.child;
    return { status, signal, out: this.#out, err: this.#err, records: await records };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGTERM");
      const impatience = setTimeout(() => this.child.kill("SIGKILL"), patienceMs(10_000));
      await once(this.child, "exit");
      clearTimeout(impatience);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  #came(_all: string): void {
    for (const look of this.#waiting) look();
  }
}

/** Runs `shunt exec` to its end. */
export async function exec(args: readonly string[], settings: ExecSettings = {}): Promise<ExecOutcome> {
  await using run = new ExecRun(args, { stdin: null, ...settings });
  return await run.outcome();
}

/**
 * Whatever is on the machine that carries the name of this `exec`; empty when it left nothing. `suffix`: of one that
 * had to take another name than its pid's.
 */
export function leftovers(pid: number, suffix = ""): string[] {
  using bpffs = Bpffs.open();
  const name = `exec-${pid}${suffix}`;
  const cgroups = findCgroup2()?.mountPoint ?? "/sys/fs/cgroup";
  return [
    `/run/shunt/${name}`,
    join(bpffs.path, "shunt", name),
    ...(readdirSync(cgroups, { recursive: true }) as string[])
      .filter((path) => path.endsWith(`shunt-${name}`))
      .map((path) => join(cgroups, path)),
  ].filter((path) => existsSync(path));
}
