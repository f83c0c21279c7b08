// SPDX-License-Identifier: Apache-2.0
import type { CommandSpec, Completion } from "../command-spec.ts";
import { COMMANDS } from "../command-table.ts";

const WORDS_OF: Readonly<Record<Completion, string>> = {
  file: "_shunt_files -f",
  directory: "_shunt_files -d",
  command: 'COMPREPLY=($(compgen -c -- "$cur"))',
  none: "COMPREPLY=()",
};

/** Needs nothing but bash ≥ 4; with the package bash-completion, exec completes CMD's own arguments too. */
export function bashCompletion(): string {
  const names = [...COMMANDS.map(({ name }) => name), "help"].join(" ");
  return `# bash completion for shunt; made by: shunt completion bash
_shunt_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

_shunt_files() {
  local IFS=$'\\n'
  compopt -o filenames 2>/dev/null
  COMPREPLY=($(compgen "$1" -- "$cur"))
}

_shunt() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" command="" options="" i
  COMPREPLY=()
  # "--mode=ebpf" comes as three words.
  if [[ $cur == "=" ]]; then
    cur=""
  elif [[ $prev == "=" ]]; then
    prev="\${COMP_WORDS[COMP_CWORD-2]}"
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ \${COMP_WORDS[i]} != -* ]]; then
      command="\${COMP_WORDS[i]}"
      break
    fi
  done
  case "$command" in
    "") _shunt_words "${names} --help --version" ;;
    help) _shunt_words "${names}" ;;
${COMMANDS.map(commandCase).join("")}  esac
}

complete -F _shunt shunt
`;
}

function commandCase(spec: CommandSpec): string {
  const options = [...spec.options.map(({ long }) => long), "--help"].join(" ");
  const argument = spec.arguments[0];
  const free = argument?.choices === undefined ? "COMPREPLY=()" : `_shunt_words "${argument.choices.join(" ")}"`;
  return `    ${spec.name})
${spec.passThrough === true ? commandLineOfCmd(spec) : ""}      case "$prev" in
${spec.options.map((option) => (option.kind === "value" ? `        ${option.long}) ${valueWords(option)} ;;\n` : "")).join("")}        *)
          if [[ $cur == -* ]]; then
            _shunt_words "${options}"
          else
            ${free}
          fi
          ;;
      esac
      ;;
`;
}

function valueWords(option: { readonly choices?: readonly string[]; readonly completion?: Completion }): string {
  if (option.choices !== undefined) return `_shunt_words "${option.choices.join(" ")}"`;
  return WORDS_OF[option.completion ?? "none"];
}

/** Finds where CMD begins: after "--", or at the first word that is neither an option nor an option's value. */
function commandLineOfCmd(spec: CommandSpec): string {
  const valued = spec.options.flatMap((option) => (option.kind === "value" ? [option.long] : [])).join("|");
  return `      for ((i++; i <= COMP_CWORD; i++)); do
        case "\${COMP_WORDS[i]}" in
          --) ((i++)); break ;;
          ${valued}) [[ \${COMP_WORDS[i+1]} == "=" ]] && ((i++)); ((i++)) ;;
          -* | "=") ;;
          *) break ;;
        esac
      done
      if ((i <= COMP_CWORD)); then
        if ((i == COMP_CWORD)); then
          ${WORDS_OF.command}
        elif declare -F _command_offset >/dev/null; then
          _command_offset "$i"
        else
          ${WORDS_OF.file}
        fi
        return
      fi
`;
}
