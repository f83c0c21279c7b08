// SPDX-License-Identifier: Apache-2.0
import type { CommandSpec, Completion, OptionSpec } from "../command-spec.ts";
import { COMMANDS } from "../command-table.ts";

const ACTION_OF: Readonly<Record<Completion, string>> = {
  file: "_files",
  directory: "_files -/",
  command: "_command_names -e",
  none: " ",
};

/** For a folder of $fpath under the name _shunt, or to be sourced after compinit. */
export function zshCompletion(): string {
  return `#compdef shunt
# zsh completion for shunt; made by: shunt completion zsh
_shunt() {
  local curcontext="$curcontext" state line
  typeset -A opt_args
  _arguments -C \\
    '(- *)--help[print the help]' \\
    '(- *)--version[print the version]' \\
    '1:command:->command' \\
    '*::argument:->argument'
  case "$state" in
    command)
      local -a commands=(
${COMMANDS.map(({ name, summary }) => `        ${quote(`${name}:${summary}`)}\n`).join("")}        'help:print the help of a command'
      )
      _describe command commands
      ;;
    argument)
      case "$line[1]" in
        help) _values command ${COMMANDS.map(({ name }) => name).join(" ")} ;;
${COMMANDS.map(commandCase).join("")}      esac
      ;;
  esac
}

if [ "$funcstack[1]" = "_shunt" ]; then
  _shunt "$@"
else
  compdef _shunt shunt
fi
`;
}

function commandCase(spec: CommandSpec): string {
  const words = ["'(- *)--help[print this help]'", ...spec.options.map(optionWord), ...argumentWords(spec)];
  return `        ${spec.name}) _arguments -s ${words.join(" \\\n          ")} ;;\n`;
}

function optionWord(option: OptionSpec): string {
  const description = option.description.replaceAll(/[[\]\\]/g, "\\$&");
  if (option.kind === "switch") return quote(`${option.long}[${description}]`);
  const action =
    option.choices === undefined ? ACTION_OF[option.completion ?? "none"] : `(${option.choices.join(" ")})`;
  return quote(`${option.repeatable === true ? "*" : ""}${option.long}=[${description}]:${option.metavar}:${action}`);
}

function argumentWords(spec: CommandSpec): string[] {
  const argument = spec.arguments[0];
  if (argument === undefined) return [];
  if (spec.passThrough === true) return ["'(-):command:_command_names -e'", "'*::argument:_normal'"];
  return [quote(`:${argument.metavar}:(${(argument.choices ?? []).join(" ")})`)];
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
