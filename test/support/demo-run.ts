// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { leftoversOf } from "../../scripts/demo/leftovers.ts";
import { Inbox, patienceMs } from "./inbox.ts";

const root = resolve(import.meta.dirname, "../..");
const DEADLINE_MS = 40_000;

/** `npm run demo -- --quick` without its set-up. Disposing tells it to end and waits until it has cleaned up. */
export class DemoRun implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #output = new Inbox<string>();
  readonly #status: Promise<number | null>;
  readonly #deadline: NodeJS.Timeout;

  constructor(env: Readonly<Record<string, string>> = {}) {
    const script = resolve(root, "scripts/demo/main.ts");
    this.#child = spawn(process.execPath, ["--import", "tsx", script, "--quick"], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on("line", this.#output.push);
    }
    this.#deadline = setTimeout(() => this.signal("SIGTERM"), patienceMs(DEADLINE_MS));
    this.#status = new Promise((done) => this.#child.once("close", (status) => done(status)));
  }

  /** What it has printed so far, without ends of lines. */
  get lines(): readonly string[] {
    return this.#output.all;
  }

  /** Waits for a line. */
  async says(pattern: RegExp): Promise<void> {
    await this.#output.until((lines) => lines.some((line) => pattern.test(line)), DEADLINE_MS);
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

  /** What it left on the machine; its names and its mark carry the number of its process. */
  left(): readonly string[] {
    const id = `shunt-demo-${this.#child.pid}`;
    return leftoversOf(id, `SHUNT_DEMO=${id}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.signal("SIGTERM");
    await this.ended();
  }
}
