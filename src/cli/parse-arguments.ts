// SPDX-License-Identifier: Apache-2.0
/** From the words of the command line to a command and its checked options. */
import { Command, CommanderError, Option } from "commander";
import { type CommandSpec, InvalidValue, type OptionSpec, type ValueSpec } from "./command-spec.ts";
import { COMMANDS } from "./command-table.ts";
import type { CliIo } from "./io.ts";
import { OptionSet } from "./option-set.ts";
import { UsageError } from "./usage-error.ts";

export interface Invocation {
  readonly command: string;
  readonly options: OptionSet;
  readonly arguments: readonly string[];
}

/** Undefined: help or version was asked for and has been printed. Throws a UsageError. */
export function parseArguments(argv: readonly string[], version: string, io: CliIo): Invocation | undefined {
  let invocation: Invocation | undefined;
  const program = new Command("shunt");
  program
    .description("Steers the traffic of pods and processes into a proxy with eBPF, without iptables.")
    .version(version, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      // What is wrong comes as an exception too, and is printed once.
      writeErr: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getOutHasColors: () => false,
    })
    .addHelpText(
      "after",
      "\nStatus: 0 done, 1 failed, 2 wrong use, 69 not possible on this machine; exec has CMD's own.",
    );
  for (const spec of COMMANDS) {
    addCommand(program, spec, (options, words) => {
      invocation = { command: spec.name, options, arguments: words };
    });
  }
  try {
    program.parse([...argv], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return undefined;
    throw new UsageError(usageMessage(error), { cause: error });
  }
  return invocation;
}

function addCommand(
  program: Command,
  spec: CommandSpec,
  chosen: (options: OptionSet, words: readonly string[]) => void,
): void {
  const command = program
    .command(spec.name)
    .summary(spec.summary)
    .description([`${spec.summary[0]?.toUpperCase()}${spec.summary.slice(1)}.`, ...spec.description].join("\n\n"))
    .helpOption("-h, --help", "print this help")
    .passThroughOptions(spec.passThrough ?? false)
    .addHelpText("after", ["", "Examples:", ...spec.examples.map((line) => `  ${line}`)].join("\n"));
  for (const option of spec.options) command.addOption(toCommander(option));
  for (const { metavar, description, required, variadic } of spec.arguments) {
    const name = variadic === true ? `${metavar}...` : metavar;
    command.argument(required ? `<${name}>` : `[${name}]`, description);
  }
  command.action(() => {
    const words = command.processedArgs.flat() as string[];
    spec.arguments.forEach(({ metavar, choices }, i) => {
      checkChoice(metavar, words[i], choices);
    });
    chosen(readOptions(spec, command), words);
  });
}

/** Only the splitting is left to commander: values are checked here, so that all messages look alike. */
function toCommander(spec: OptionSpec): Option {
  const short = spec.short === undefined ? "" : `${spec.short}, `;
  if (spec.kind === "switch") return new Option(`${short}${spec.long}`, spec.description);
  const choices = spec.choices === undefined ? "" : `: ${spec.choices.join(", ")}`;
  const option = new Option(`${short}${spec.long} <${spec.metavar}>`, `${spec.description}${choices}`);
  if (spec.repeatable === true)
    option.argParser((value: string, sofar: string[] | undefined) => [...(sofar ?? []), value]);
  return option;
}

function readOptions(spec: CommandSpec, command: Command): OptionSet {
  const values = new Map<string, unknown>();
  for (const option of spec.options) {
    const attribute = command.options.find(({ long }) => long === option.long)?.attributeName() ?? "";
    // The attribute of --no-x has a default; only what was written counts.
    if (command.getOptionValueSource(attribute) !== "cli") continue;
    const raw: unknown = command.getOptionValue(attribute);
    if (option.kind === "switch") values.set(option.long, true);
    else
      values.set(
        option.long,
        Array.isArray(raw) ? raw.map((text: string) => readValue(option, text)) : readValue(option, raw as string),
      );
  }
  return new OptionSet(values);
}

function readValue(option: ValueSpec, text: string): unknown {
  checkChoice(option.long, text, option.choices);
  try {
    return option.parse === undefined ? text : option.parse(text);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new UsageError(`${option.long} ${JSON.stringify(text)} ${error.message}`, { cause: error });
  }
}

function checkChoice(name: string, text: string | undefined, choices: readonly string[] | undefined): void {
  if (text === undefined || choices === undefined || choices.includes(text)) return;
  throw new UsageError(`${name} ${JSON.stringify(text)} is not one of ${choices.join(", ")}`);
}

/** One line, whatever commander says in how many. */
function usageMessage(error: CommanderError): string {
  if (error.code === "commander.help") return "no command given, see shunt --help";
  return error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
}
