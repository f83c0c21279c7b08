// SPDX-License-Identifier: Apache-2.0
/** Every flag's value and where it comes from: the command line, else the environment, else the default. */
import { FlagError } from "./flag-error.ts";
import { type FlagKind, ISTIO_FLAGS, type IstioFlag } from "./flag-table.ts";
import { parseGoBool, parseGoDuration, parseGoUint16 } from "./go-values.ts";
import { splitFlags } from "./pflag.ts";

export type FlagName = (typeof ISTIO_FLAGS)[number]["name"];
export type Environment = Readonly<Record<string, string | undefined>>;

export interface FlagValue {
  readonly text: string;
  /** As the user knows it: "--proxy-uid", "PROXY_UID"; for a default the flag. */
  readonly origin: string;
  readonly from: "flag" | "variable" | "default";
}

/** A value of a type that pflag checks: what is wrong is an error on the command line and passed over in the environment. */
const CHECKS: Readonly<Record<Exclude<FlagKind, "text">, readonly [(text: string) => unknown, allowed: string]>> = {
  switch: [parseGoBool, "true or false"],
  port: [parseGoUint16, "a port (0 … 65535)"],
  duration: [parseGoDuration, "a duration such as 5s or 1m30s"],
};

export class FlagValues {
  readonly help: boolean;
  /** What of the environment could not be used. */
  readonly warnings: readonly string[];
  readonly #values = new Map<string, readonly FlagValue[]>();

  /** Throws a FlagError that names the flag, its value and what is allowed. */
  constructor(argv: readonly string[], environment: Environment) {
    const shapes = ISTIO_FLAGS.map((flag: IstioFlag) => ({ ...flag, isSwitch: flag.kind === "switch" }));
    const { values, help } = splitFlags(argv, shapes);
    const warnings: string[] = [];
    this.help = help;
    this.warnings = warnings;
    for (const flag of ISTIO_FLAGS as readonly IstioFlag[]) {
      const written = values.get(flag.name) ?? [];
      for (const text of written) checkFlag(flag, text);
      this.#values.set(
        flag.name,
        written.length > 0
          ? written.map((text) => ({ text, origin: `--${flag.name}`, from: "flag" }))
          : [fromEnvironment(flag, environment, warnings)],
      );
    }
  }

  /** The value that counts: the last one. */
  get(name: FlagName): FlagValue {
    const value = this.#values.get(name)?.at(-1);
    if (value === undefined) throw new TypeError(`flag ${name} is not in the table`);
    return value;
  }

  text(name: FlagName): string {
    return this.get(name).text;
  }

  isOn(name: FlagName): boolean {
    return parseGoBool(this.text(name)) === true;
  }
}

function checkFlag(flag: IstioFlag, text: string): void {
  if (flag.kind === "text") return;
  const [parse, allowed] = CHECKS[flag.kind];
  if (parse(text) === undefined) throw new FlagError(`--${flag.name} ${JSON.stringify(text)} is not ${allowed}`);
}

function fromEnvironment(flag: IstioFlag, environment: Environment, warnings: string[]): FlagValue {
  let value: FlagValue = { text: flag.default, origin: `--${flag.name}`, from: "default" };
  for (const variable of flag.variables) {
    const text = environment[variable];
    if (text === undefined) continue;
    const complaint = complaintOf(flag, text);
    if (complaint === undefined) value = { text, origin: variable, from: "variable" };
    else warnings.push(`${variable} ${JSON.stringify(text)} ${complaint}; it is ignored`);
  }
  return value;
}

function complaintOf(flag: IstioFlag, text: string): string | undefined {
  // Templates set variables to nothing; where there must be something, that stands for the default.
  if (flag.kind === "text") return text === "" && flag.default !== "" ? "is empty" : undefined;
  const [parse, allowed] = CHECKS[flag.kind];
  return parse(text) === undefined ? `is not ${allowed}` : undefined;
}
