// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { BenchError } from "./bench-error.ts";

const patience = Number(process.env["SHUNT_PATIENCE"] ?? "1");

export interface Surroundings {
  /** Name of the network namespace it runs in; absent: the bench's own. */
  readonly netns?: string;
  /** Directory of the cgroup it joins first. */
  readonly cgroup?: string;
  /** User and group it runs as. */
  readonly user?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Before patience; 20 s unless told otherwise. */
  readonly deadlineMs?: number;
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Starts every program of the bench. Each has a session of its own, so that Ctrl-C in a terminal reaches the bench
 * alone, which then ends them in the right order; the kernel ends those that a killed bench leaves.
 */
export class Processes {
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Runs a program to its end, whatever its status; kills it and throws the reason when the bench is interrupted. */
  async run(command: readonly string[], surroundings: Surroundings = {}): Promise<Finished> {
    this.#signal.throwIfAborted();
    const child = launch(command, "KILL", surroundings);
    const kill = (): void => void child.kill("SIGKILL");
    this.#signal.addEventListener("abort", kill, { once: true });
    const finished = await outcome(child, command, surroundings);
    this.#signal.removeEventListener("abort", kill);
    this.#signal.throwIfAborted();
    return finished;
  }

  /** Runs a short step of setting up or taking down, which no interruption cuts in two. Throws when it fails. */
  async step(command: readonly string[], surroundings: Surroundings = {}): Promise<string> {
    const { status, stdout, stderr } = await outcome(launch(command, "KILL", surroundings), command, surroundings);
    if (status === 0) return stdout;
    throw new BenchError("ERR_BENCH_PROGRAM", `${command.join(" ")}: ${stderr.trim() || `status ${status}`}`);
  }

  /**
   * Starts a program that serves until it is stopped.
   * @param orphaned signal that the kernel sends it when the bench dies
   */
  start(command: readonly string[], orphaned: "KILL" | "TERM", surroundings: Surroundings = {}): Serving {
    this.#signal.throwIfAborted();
    return new Serving(command, launch(command, orphaned, surroundings), orphaned, this.#signal);
  }
}

/** Every link of the chain replaces itself by the next, so that the pid is the program's. */
function launch(command: readonly string[], orphaned: "KILL" | "TERM", surroundings: Surroundings): ChildProcess {
  const { netns, cgroup, user, env, input } = surroundings;
  const join = cgroup === undefined ? [] : ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup];
  const enter = netns === undefined ? [] : ["nsenter", `--net=/run/netns/${netns}`];
  // The cache of downloaded proxies can lie below a home directory.
  const reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
  const become = user === undefined ? [] : [`--reuid=${user}`, `--regid=${user}`, "--clear-groups", ...reading];
  const [program = "", ...args] = [...join, ...enter, "setpriv", "--pdeathsig", orphaned, ...become, ...command];
  const child = spawn(program, args, { detached: true, stdio: "pipe", env: { ...process.env, ...env } });
  // It may end without reading what it is given, or not start at all, which its end tells.
  child.stdin.on("error", () => {});
  child.on("error", () => {});
  child.stdin.end(input ?? "");
  return child;
}

async function outcome(child: ChildProcess, command: readonly string[], surroundings: Surroundings): Promise<Finished> {
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const deadlineMs = (surroundings.deadlineMs ?? 20_000) * patience;
  let late = false;
  const deadline = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, deadlineMs);
  try {
    const [status] = (await once(child, "close")) as [number | null];
    if (!late) return { status, stdout: stdout(), stderr: stderr() };
    throw new BenchError("ERR_BENCH_PROGRAM", `${command.join(" ")} did not end within ${deadlineMs} ms`);
  } catch (cause) {
    if (cause instanceof BenchError) throw cause;
    throw new BenchError("ERR_BENCH_PROGRAM", `${command.join(" ")}: ${(cause as Error).message}`, { cause });
  } finally {
    clearTimeout(deadline);
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = "";
  stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  return () => text;
}

/** Of what a program has written when it fails, in characters. */
const MOST_TOLD = 400;

/** A program that runs until the bench stops it. */
export class Serving implements AsyncDisposable {
  readonly #command: readonly string[];
  readonly #child: ChildProcess;
  readonly #ending: "KILL" | "TERM";
  readonly #interrupted: AbortSignal;
  readonly #ended: Promise<number | null>;
  #running = true;
  #output = "";

  /** @param ending signal that disposing sends it */
  constructor(command: readonly string[], child: ChildProcess, ending: "KILL" | "TERM", interrupted: AbortSignal) {
    this.#command = command;
    this.#ending = ending;
    this.#child = child;
    this.#interrupted = interrupted;
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => (this.#output = (this.#output + text).slice(-20_000)));
    // Not "close", which waits for all that its children still hold open.
    this.#ended = new Promise((resolve) => {
      const end = (status: number | null): void => {
        this.#running = false;
        resolve(status);
      };
      child.once("exit", end);
      child.once("error", () => end(null));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The end of what it has written. */
  get output(): string {
    return this.#output;
  }

  /** Waits until `answer` is not false, asking again as it writes and every few milliseconds. */
  async until<Answer>(answer: () => Promise<Answer | false> | Answer | false, what: string): Promise<Answer> {
    const deadline = performance.now() + 20_000 * patience;
    for (;;) {
      this.#interrupted.throwIfAborted();
      const found = await answer();
      if (found !== false) return found;
      if (!this.#running) throw this.#failure(`ended before ${what}`);
      if (performance.now() > deadline) throw this.#failure(`no ${what} within ${20 * patience} s`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Waits for a line of output that is exactly this. */
  async says(line: string): Promise<void> {
    await this.until(() => this.#output.split("\n").includes(line), `line ${line}`);
  }

  #failure(what: string): BenchError {
    const said = this.#output.trim().slice(0, MOST_TOLD);
    return new BenchError("ERR_BENCH_PROGRAM", `${this.#command.join(" ")}: ${what}: ${said}`);
  }

  /**
   * Asks it to end, and forces it after ten seconds, with all of its session. Gives its status: null when it was ended
   * by a signal.
   */
  async stop(): Promise<number | null> {
    if (this.#running) this.#child.kill(`SIG${this.#ending}`);
    const force = setTimeout(() => this.#killSession(), 10_000 * patience);
    const status = await this.#ended;
    clearTimeout(force);
    this.#killSession();
    return status;
  }

  #killSession(): void {
    const { pid } = this.#child;
    // It never started.
    if (pid === undefined) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // Nobody is left of it.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
