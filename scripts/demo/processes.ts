// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { createInterface } from "node:readline";
import { $, type ProcessPromise } from "zx";
import { DemoFailure } from "./failure.ts";

const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

export interface ProgramOptions {
  /** Name of the network namespace it runs in; absent: the demo's own. */
  readonly netns?: string;
  readonly input?: string;
  /** It cleans up after itself at its end, which no interruption may take from it. */
  readonly toItsEnd?: boolean;
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Starts every program of the demo. Each has a session of its own, so that Ctrl-C in a terminal reaches the demo alone,
 * which then ends them in the right order; the kernel ends those that a killed demo leaves.
 */
export class Processes {
  readonly #env: NodeJS.ProcessEnv;
  readonly #signal: AbortSignal;

  /** @param mark NAME=VALUE in the environment of every program, by which they are found again */
  constructor(mark: string, signal: AbortSignal) {
    const [name = "", value = ""] = mark.split("=");
    this.#env = { ...process.env, [name]: value };
    this.#signal = signal;
  }

  /**
   * Runs a program to its end, whatever its status. When the demo is interrupted it kills the program, unless told
   * otherwise, and throws the reason.
   */
  async run(command: readonly string[], options: ProgramOptions = {}): Promise<Finished> {
    this.#signal.throwIfAborted();
    const program = this.#spawn(command, "KILL", options);
    const kill = (): void => void program.child?.kill("SIGKILL");
    if (options.toItsEnd !== true) this.#signal.addEventListener("abort", kill, { once: true });
    const { exitCode, stdout, stderr } = await program;
    this.#signal.removeEventListener("abort", kill);
    this.#signal.throwIfAborted();
    return { status: exitCode, stdout, stderr };
  }

  /** Runs a short step of setting up or taking down, which no interruption cuts in two. Throws when it fails. */
  async step(command: readonly string[], options: ProgramOptions = {}): Promise<string> {
    const { exitCode, stdout, stderr } = await this.#spawn(command, "KILL", options);
    if (exitCode !== 0) throw new DemoFailure(`${command.join(" ")}: ${stderr.trim() || `status ${exitCode}`}`);
    return stdout;
  }

  /**
   * Starts a program that serves until it is stopped.
   * @param orphaned signal that the kernel sends it when the demo dies
   */
  start(command: readonly string[], orphaned: "KILL" | "TERM", options: ProgramOptions = {}): Serving {
    this.#signal.throwIfAborted();
    return new Serving(command.join(" "), this.#spawn(command, orphaned, options), this.#signal);
  }

  #spawn(command: readonly string[], orphaned: "KILL" | "TERM", { netns, input }: ProgramOptions): ProcessPromise {
    const inside = netns === undefined ? [] : ["nsenter", `--net=/run/netns/${netns}`];
    const shell = $({ detached: true, quiet: true, nothrow: true, env: this.#env, input: input ?? "" });
    // Every link of this chain replaces itself by the next, so that the pid is the program's.
    return shell`exec setpriv --pdeathsig ${orphaned} ${[...inside, ...command]}`;
  }
}

/** A program that runs until the demo stops it. */
export class Serving implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #title: string;
  readonly #program: ProcessPromise;
  readonly #interrupted: AbortSignal;
  readonly #ended: Promise<Finished>;
  #running = true;

  constructor(title: string, program: ProcessPromise, interrupted: AbortSignal) {
    this.#title = title;
    this.#program = program;
    this.#interrupted = interrupted;
    for (const stream of [program.stdout, program.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.lines.push(line));
    }
    this.#ended = program.then(({ exitCode, stdout, stderr }) => {
      this.#running = false;
      return { status: exitCode, stdout, stderr };
    });
  }

  /** Waits for a line of output that fits; rejects when the program ends before, or the demo is interrupted. */
  async says(pattern: RegExp, deadlineMs = 20_000): Promise<void> {
    const deadline = AbortSignal.timeout(deadlineMs * patience);
    const waiting = new AbortController();
    const stop = AbortSignal.any([this.#interrupted, deadline, waiting.signal]);
    try {
      while (this.#running && !stop.aborted && !this.lines.some((line) => pattern.test(line))) {
        // The line may be on either stream.
        const news = [this.#program.stdout, this.#program.stderr].map((stream) =>
          once(stream, "data", { signal: stop }).catch(() => {}),
        );
        await Promise.race([...news, this.#ended]);
        // readline tells its lines in the turn after the data.
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      waiting.abort();
    }
    this.#interrupted.throwIfAborted();
    if (this.lines.some((line) => pattern.test(line))) return;
    const why = this.#running ? `does not get ready within ${deadlineMs * patience} ms` : "ended at its start";
    throw new DemoFailure(`${this.#title} ${why}: ${this.lines.join("; ")}`);
  }

  /** Asks it to end, and forces it after ten seconds. Gives its status: null when it was ended by a signal. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Finished> {
    if (this.#running) this.#program.child?.kill(signal);
    const force = setTimeout(() => this.#program.child?.kill("SIGKILL"), 10_000 * patience);
    const finished = await this.#ended;
    clearTimeout(force);
    return finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}
