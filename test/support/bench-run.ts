// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { takeTraces } from "../../scripts/test/leftovers.ts";
import type { BenchReport } from "../../src/bench/report.ts";
import { Inbox, patienceMs } from "./inbox.ts";
import { shuntArgv } from "./shunt.ts";

const DEADLINE_MS = 60_000;

/** `shunt bench` of the built program. Disposing tells it to end and waits until it has cleaned up. */
export class BenchRun implements AsyncDisposable {
  readonly folder: string;
  readonly #child: ChildProcess;
  readonly #mark: string;
  readonly #lines = new Inbox<string>();
  readonly #status: Promise<number | null>;
  readonly #deadline: NodeJS.Timeout;

  constructor(flags: readonly string[]) {
    this.folder = mkdtempSync(join(tmpdir(), "shunt-test-bench-"));
    this.#mark = `SHUNT_TEST_BENCH=${this.folder}`;
    const [command = "", ...args] = shuntArgv([
      "bench",
      ...flags,
      "--json",
      this.file("json"),
      "--html",
      this.file("html"),
    ]);
    const env = { ...process.env, SHUNT_TEST_BENCH: this.folder };
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream !== null) createInterface({ input: stream }).on("line", this.#lines.push);
    this.#deadline = setTimeout(() => this.signal("SIGTERM"), patienceMs(DEADLINE_MS));
    this.#status = new Promise((done) => this.#child.once("close", (status) => done(status)));
  }

  file(kind: "json" | "html"): string {
    return join(this.folder, `bench.${kind}`);
  }

  get output(): string {
    return this.#lines.all.join("\n");
  }

  report(): BenchReport {
    return JSON.parse(readFileSync(this.file("json"), "utf8")) as BenchReport;
  }

  async says(pattern: RegExp): Promise<void> {
    await this.#lines.until((lines) => lines.some((line) => pattern.test(line)), DEADLINE_MS);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Its exit status, once it has ended; past the deadline it is told to end. */
  async ended(): Promise<number | null> {
    const status = await this.#status;
    clearTimeout(this.#deadline);
    return status;
  }

  /** What it left on the machine. */
  left(): readonly string[] {
    const id = `shunt-bench-${this.#child.pid}`;
    return Object.entries(takeTraces(this.#mark)).flatMap(([kind, lines]) =>
      lines.filter((line) => kind === "process" || line.includes(id)).map((line) => `${kind} ${line}`),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal("SIGTERM");
    await this.ended();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
