#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The process: the only file that ends it. */
import { version } from "./agent/version.ts";
import type { Actions } from "./cli/actions.ts";
import { runCli } from "./cli/run-cli.ts";

const actions: Actions = {
  version,
  runAgent: async (...args) => (await import("./agent/run-agent.ts")).runAgent(...args),
  execCommand: async (...args) => (await import("./agent/exec/exec-command.ts")).execCommand(...args),
  clean: async (...args) => (await import("./agent/clean.ts")).clean(...args),
  rules: async (...args) => (await import("./agent/rules/rules.ts")).rules(...args),
  bench: async (options) => (await import("./bench/bench.ts")).runBench(options),
  probeMachine: async (...args) => (await import("./agent/probe-machine.ts")).probeMachine(...args),
};

const argv = process.argv.slice(2);
const abort = new AbortController();
// `exec` hands signals on to its command; it ends when the command does.
if (argv[0] !== "exec") {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => abort.abort());
}
// The reader of a pipe (`shunt flows | head`) may leave before we are done.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});
const status = await runCli(argv, { stdout: process.stdout, stderr: process.stderr, signal: abort.signal }, actions);
// What is still in the pipe's buffer goes out first: exit() alone would cut a long answer off.
process.stdout.write("", () => process.exit(status));
