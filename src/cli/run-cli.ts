// SPDX-License-Identifier: Apache-2.0
/** The whole command line: one command is run, and every failure ends here as a message and a status. */
import { ConfigError } from "../config/problem.ts";
import { causedBy, ShuntError } from "../util/shunt-error.ts";
import { ImpossibleHereError } from "../util/unsupported-error.ts";
import type { Actions } from "./actions.ts";
import { EXIT } from "./exit-status.ts";
import type { CliIo } from "./io.ts";
import { type Invocation, parseArguments } from "./parse-arguments.ts";
import { UsageError } from "./usage-error.ts";

type CommandFunction = (invocation: Invocation, io: CliIo, actions: Actions) => Promise<number>;

/** Loaded when asked for: `exec` stands in front of short commands, and what the others need takes its time. */
const COMMAND_FUNCTIONS: Readonly<Record<string, () => Promise<CommandFunction>>> = {
  run: async () => (await import("./commands/run.ts")).runAgentCommand,
  exec: async () => (await import("./commands/exec.ts")).runExec,
  probe: async () => (await import("./commands/probe.ts")).runProbe,
  status: async () => (await import("./commands/status.ts")).runStatus,
  flows: async () => (await import("./commands/flows.ts")).runFlows,
  explain: async () => (await import("./commands/explain.ts")).runExplain,
  acceleration: async () => (await import("./commands/acceleration.ts")).runAcceleration,
  rules: async () => (await import("./commands/rules.ts")).runRules,
  clean: async () => (await import("./commands/clean.ts")).runClean,
  bench: async () => (await import("./commands/bench.ts")).runBenchCommand,
  completion: async () => (await import("./commands/completion.ts")).runCompletion,
};

/** Takes its arguments apart by itself, as Istio's command does. */
const ISTIO_IPTABLES = "istio-iptables";

/** `argv` is without interpreter and script. Answers with the exit status and never throws. */
export async function runCli(argv: readonly string[], io: CliIo, actions: Actions): Promise<number> {
  let command: string | undefined;
  try {
    if (argv[0] === ISTIO_IPTABLES) {
      command = ISTIO_IPTABLES;
      const { runIstioIptables } = await import("./commands/istio-iptables.ts");
      const status = await runIstioIptables(argv.slice(1), io);
      if (status !== undefined) return status;
    }
    const invocation = parseArguments(command === undefined ? argv : [command, "--help"], actions.version, io);
    if (invocation === undefined) return EXIT.ok;
    command = invocation.command;
    const load = COMMAND_FUNCTIONS[command];
    if (load === undefined) throw new TypeError(`command ${command} is in the table and has no function`);
    const run = await load();
    return await run(invocation, io, actions);
  } catch (error) {
    const errors = toldBy(error);
    io.stderr.write(`${errors.map((each) => describe(each, command)).join("\n")}\n`);
    return statusOf(errors[0], command);
  }
}

/** What failed, and after it what failed while that was being cleared up (SuppressedError, ECMAScript 2026). */
function toldBy(error: unknown): unknown[] {
  if (!(error instanceof Error) || error.name !== "SuppressedError") return [error];
  const { suppressed, error: later } = error as SuppressedError;
  return [...toldBy(suppressed), ...toldBy(later)];
}

function describe(error: unknown, command: string | undefined): string {
  const program = command === undefined ? "shunt" : `shunt ${command}`;
  // Each problem stands on a line of its own that begins with file and line, as editors expect.
  if (error instanceof ConfigError) return error.message;
  if (error instanceof ShuntError) return `${program}: ${error.message}`;
  return `${program}: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

function statusOf(error: unknown, command: string | undefined): number {
  if (causedBy(error, UsageError) !== undefined) return EXIT.usage;
  if (command === "exec") return EXIT.execFailed;
  if (command === ISTIO_IPTABLES) return EXIT.failure;
  return causedBy(error, ImpossibleHereError) === undefined ? EXIT.failure : EXIT.unavailable;
}
