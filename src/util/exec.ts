// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { ShuntError } from "./shunt-error.ts";

export interface RunOptions {
  /** Text written to the program's standard input; nothing (end of file at once) when absent. */
  readonly stdin?: string;
  /** An open file to be standard input instead; stays the caller's. */
  readonly stdinFd?: number;
  /** Killed with SIGKILL after this time; 30 s when absent. */
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
}

export type ExecErrorCode =
  | "ERR_EXEC_NOT_FOUND"
  | "ERR_EXEC_START"
  | "ERR_EXEC_FAILED"
  | "ERR_EXEC_TIMEOUT"
  | "ERR_EXEC_ABORTED"
  | "ERR_EXEC_OUTPUT";

/** Output beyond this is a mistake, not an answer. */
const MAX_OUTPUT_BYTES = 64 << 20;
const DEFAULT_TIMEOUT_MS = 30_000;

/** A program that could not be started or did not end with status 0. */
export class ExecError extends ShuntError<ExecErrorCode> {
  readonly program: string;
  readonly args: readonly string[];
  /** Exit status; undefined when a signal ended it or it never ran. */
  readonly status: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;

  constructor(
    code: ExecErrorCode,
    what: string,
    command: {
      program: string;
      args: readonly string[];
      status?: number | undefined;
      signal?: NodeJS.Signals | undefined;
      stdout?: string;
      stderr?: string;
    },
    options?: ErrorOptions,
  ) {
    const last = lastLine(command.stderr ?? "");
    super(code, `${formatCommand(command.program, command.args)} ${what}${last === "" ? "" : `: ${last}`}`, options);
    this.program = command.program;
    this.args = command.args;
    this.status = command.status;
    this.signal = command.signal;
    this.stdout = command.stdout ?? "";
    this.stderr = command.stderr ?? "";
  }
}

/**
 * Runs a program without a shell and waits for its end. Resolves with the captured output when the status is
 * 0; throws an ExecError with the last line of standard error otherwise.
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const command = { program, args };
    if (options.signal?.aborted) {
      reject(new ExecError("ERR_EXEC_ABORTED", "was not started", command, { cause: options.signal.reason }));
      return;
    }
    const child = spawn(program, [...args], {
      stdio: [options.stdinFd ?? "pipe", "pipe", "pipe"],
      env: options.env ?? process.env,
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let bytes = 0;
    let stopped: { code: ExecErrorCode; what: string; cause?: unknown } | undefined;

    const stop = (code: ExecErrorCode, what: string, cause?: unknown): void => {
      stopped ??= { code, what, cause };
      child.kill("SIGKILL");
    };
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_OUTPUT_BYTES) stop("ERR_EXEC_OUTPUT", `wrote more than ${MAX_OUTPUT_BYTES} bytes`);
      else into.push(chunk);
    };
    const timer = setTimeout(() => stop("ERR_EXEC_TIMEOUT", `did not end within ${timeoutMs} ms`), timeoutMs);
    const onAbort = (): void => stop("ERR_EXEC_ABORTED", "was stopped", options.signal?.reason);
    options.signal?.addEventListener("abort", onAbort, { once: true });
    const release = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
    };

    child.stdout?.on("data", collect(stdout));
    child.stderr?.on("data", collect(stderr));
    // A program that ends without reading its input is judged by its status, not by our EPIPE.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin ?? "");
    child.on("error", (error: NodeJS.ErrnoException) => {
      release();
      const missing = error.code === "ENOENT";
      const what = missing ? "was not found" : "could not be started";
      reject(new ExecError(missing ? "ERR_EXEC_NOT_FOUND" : "ERR_EXEC_START", what, command, { cause: error }));
    });
    child.on("close", (status, signal) => {
      release();
      const output = { stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
      if (status === 0 && !stopped) {
        resolve(output);
        return;
      }
      const ended = { ...command, ...output, status: status ?? undefined, signal: signal ?? undefined };
      if (stopped) {
        reject(new ExecError(stopped.code, stopped.what, ended, { cause: stopped.cause }));
      } else {
        const what = status === null ? `was ended by ${signal}` : `ended with status ${status}`;
        reject(new ExecError("ERR_EXEC_FAILED", what, ended));
      }
    });
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1)?.trim() ?? "";
}

/** As one would type it; words a shell would take apart are quoted. */
export function formatCommand(program: string, args: readonly string[]): string {
  const quote = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  return [program, ...args].map(quote).join(" ");
}
