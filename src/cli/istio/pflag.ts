// SPDX-License-Identifier: Apache-2.0
/** Splits a command line as github.com/spf13/pflag does, so that what works with Istio's command works here. */
import { FlagError } from "./flag-error.ts";

export interface FlagShape {
  /** Without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** A flag without a value stands for "true" (pflag's NoOptDefVal); its value can only follow "=". */
  readonly isSwitch: boolean;
}

export interface SplitFlags {
  /** Flag → every value it was given, in order; pflag's plain flags take the last. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly help: boolean;
}

/**
 * "--name=value", "--name value", "-n value", "-nvalue", "-n=value", switches alone or with "=", short ones joined, "--"
 * as the end. Throws a FlagError for an unknown flag, a missing value, and for words that belong to no flag.
 */
export function splitFlags(argv: readonly string[], shapes: readonly FlagShape[]): SplitFlags {
  const values = new Map<string, string[]>();
  const rest = [...argv];
  let help = false;
  const note = (name: string, value: string): void => void values.set(name, [...(values.get(name) ?? []), value]);

  const long = (word: string): void => {
    const equals = word.indexOf("=");
    const name = word.slice(2, equals < 0 ? undefined : equals);
    if (name === "" || name.startsWith("-")) throw new FlagError(`${word} is no flag`);
    const shape = shapes.find((s) => s.name === name);
    if (shape !== undefined) {
      note(name, equals < 0 ? following(shape, `--${name}`) : word.slice(equals + 1));
    } else if (name === "help") {
      help = true;
    } else {
      throw new FlagError(`unknown flag --${name}`);
    }
  };

  const following = (shape: FlagShape, written: string): string => {
    if (shape.isSwitch) return "true";
    const next = rest.shift();
    if (next === undefined) throw new FlagError(`flag needs a value: ${written}`);
    return next;
  };

  /** "-bcd": switches up to the first flag that takes a value, which is the rest of the word or the next one. */
  const shorts = (word: string): void => {
    for (let letters = word.slice(1); letters !== ""; ) {
      const letter = letters.charAt(0);
      const shape = shapes.find((s) => s.short === letter);
      letters = letters.slice(1);
      if (shape === undefined && letter === "h") {
        help = true;
        continue;
      }
      if (shape === undefined) throw new FlagError(`unknown flag -${letter} in ${word}`);
      if (letters.length > 1 && letters.startsWith("=")) {
        note(shape.name, letters.slice(1));
        return;
      }
      if (shape.isSwitch || letters === "") {
        note(shape.name, following(shape, `-${letter}`));
        continue;
      }
      note(shape.name, letters);
      return;
    }
  };

  while (rest.length > 0) {
    const word = rest.shift() ?? "";
    if (word === "--") break;
    if (word.startsWith("--")) long(word);
    else if (word.startsWith("-") && word !== "-") shorts(word);
    else throw new FlagError(unexpected(word));
  }
  if (rest.length > 0) throw new FlagError(unexpected(rest[0] ?? ""));
  return { values, help };
}

function unexpected(word: string): string {
  const hint = /^(true|false)$/.test(word) ? `: a switch takes its value after "=", as in --dry-run=${word}` : "";
  return `${JSON.stringify(word)} belongs to no flag${hint}`;
}
