// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { SetupFailure } from "./failure.mjs";

const isTerminal = process.stdout.isTTY;

/** @param {number} startedMs */
const seconds = (startedMs) => ((Date.now() - startedMs) / 1000).toFixed(1);

/**
 * Shows that something runs: a line that counts on a terminal, one line every ten seconds elsewhere.
 * @param {string} title
 */
export function startProgress(title) {
  const startedMs = Date.now();
  let lastLine = "";
  if (!isTerminal) process.stdout.write(`- ${title}\n`);
  const draw = () => {
    const width = (process.stdout.columns ?? 80) - 1;
    const text = `- ${title} ${seconds(startedMs)} s  ${lastLine}`;
    process.stdout.write(isTerminal ? `\r\x1b[K${text.slice(0, width)}` : `  … ${title}: ${seconds(startedMs)} s\n`);
  };
  if (isTerminal) draw();
  const timer = setInterval(draw, isTerminal ? 500 : 10_000);
  return {
    /** @param {string} line newest line of output */
    note(line) {
      lastLine = line;
    },
    /** @param {string} outcome such as "done" */
    end(outcome) {
      clearInterval(timer);
      process.stdout.write(
        `${isTerminal ? "\r\x1b[K" : "  "}${isTerminal ? `- ${title}: ` : ""}${outcome} (${seconds(startedMs)} s)\n`,
      );
    },
  };
}

/**
 * Runs a program, keeps what it writes and resolves with its exit status.
 * @param {readonly string[]} command
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} options
 * @param {(line: string) => void} onLine
 * @returns {Promise<{status: number, output: string}>}
 */
export function runQuietly(command, options = {}, onLine = () => {}) {
  return new Promise((resolve) => {
    const [program = "", ...args] = command;
    // Captured text is read by people and by patterns, wherever it is shown later.
    const env = { ...(options.env ?? process.env), NO_COLOR: "1", FORCE_COLOR: "0" };
    const child = spawn(program, args, { ...options, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    /** @param {Buffer} chunk */
    const collect = (chunk) => {
      output += chunk.toString();
      const line = chunk.toString().trimEnd().split("\n").at(-1);
      if (line !== undefined && line !== "") onLine(line.trim());
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", (error) => resolve({ status: 127, output: `${output}${program}: ${error.message}\n` }));
    child.on("close", (status) => resolve({ status: status ?? 128, output }));
  });
}

/**
 * Runs a program as one visible step; its output is shown only when it fails.
 * @param {string} title
 * @param {readonly string[]} command
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} options
 */
export async function runStep(title, command, options = {}) {
  const progress = startProgress(title);
  const { status, output } = await runQuietly(command, options, (line) => progress.note(line));
  progress.end(status === 0 ? "done" : `failed with status ${status}`);
  if (status === 0) return;
  process.stdout.write(output.split("\n").slice(-80).join("\n"));
  throw new SetupFailure(`${title} failed: ${command.join(" ")}`);
}
