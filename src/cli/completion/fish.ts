// SPDX-License-Identifier: Apache-2.0
import type { CommandSpec, OptionSpec } from "../command-spec.ts";
import { COMMANDS } from "../command-table.ts";

export function fishCompletion(): string {
  const names = [...COMMANDS.map(({ name }) => name), "help"].join(" ");
  return `# fish completion for shunt; made by: shunt completion fish
complete -c shunt -f
complete -c shunt -n __fish_use_subcommand -l help -d 'print the help'
complete -c shunt -n __fish_use_subcommand -l version -d 'print the version'
complete -c shunt -n __fish_use_subcommand -a help -d 'print the help of a command'
complete -c shunt -n '__fish_seen_subcommand_from help' -a '${names}'
${COMMANDS.map(commandLines).join("")}`;
}

function commandLines(spec: CommandSpec): string {
  const inside = `complete -c shunt -n '__fish_seen_subcommand_from ${spec.name}'`;
  const lines = [
    `complete -c shunt -n __fish_use_subcommand -a ${spec.name} -d ${quote(spec.summary)}`,
    ...spec.options.map((option) => `${inside} ${optionWords(option)} -d ${quote(option.description)}`),
    `${inside} -l help -d 'print this help'`,
  ];
  for (const argument of spec.arguments) {
    if (argument.choices !== undefined) lines.push(`${inside} -a '${argument.choices.join(" ")}'`);
    if (argument.completion === "command") lines.push(`${inside} -a '(__fish_complete_subcommand --fcs-skip=2)'`);
  }
  return `${lines.join("\n")}\n`;
}

function optionWords(option: OptionSpec): string {
  const long = `-l ${option.long.slice(2)}`;
  if (option.kind === "switch") return long;
  if (option.choices !== undefined) return `${long} -x -a '${option.choices.join(" ")}'`;
  if (option.completion === "directory") return `${long} -x -a '(__fish_complete_directories)'`;
  return option.completion === "file" ? `${long} -r -F` : `${long} -x`;
}

function quote(text: string): string {
  return `'${text.replaceAll(/['\\]/g, "\\$&")}'`;
}
