// SPDX-License-Identifier: Apache-2.0
/** The form of a command as data: parser, completion and reference are all made from it. */

export type Completion = "file" | "directory" | "command" | "none";

interface OptionBase {
  /** With the dashes, such as "--mode". */
  readonly long: string;
  readonly short?: string;
  readonly description: string;
}

export interface SwitchSpec extends OptionBase {
  readonly kind: "switch";
}

export interface ValueSpec extends OptionBase {
  readonly kind: "value";
  /** How help calls the value, such as "FILE". */
  readonly metavar: string;
  readonly choices?: readonly string[];
  /** Checks the text and turns it into what the command works with; throws an InvalidValue. */
  readonly parse?: (text: string) => unknown;
  /** May be given more than once: the values are collected. */
  readonly repeatable?: boolean;
  readonly completion?: Completion;
}

export type OptionSpec = SwitchSpec | ValueSpec;

export interface ArgumentSpec {
  readonly metavar: string;
  readonly description: string;
  readonly required: boolean;
  readonly variadic?: boolean;
  readonly choices?: readonly string[];
  readonly completion?: Completion;
}

export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** Paragraphs of the help and the reference. */
  readonly description: readonly string[];
  readonly options: readonly OptionSpec[];
  readonly arguments: readonly ArgumentSpec[];
  /** What follows the first argument belongs to it, dashes or not. */
  readonly passThrough?: boolean;
  readonly examples: readonly string[];
}

/** The text an option value should have had: "a port (0 … 65535)". */
export class InvalidValue extends Error {
  readonly allowed: string;

  constructor(allowed: string) {
    super(`is not ${allowed}`);
    this.allowed = allowed;
  }
}
