// SPDX-License-Identifier: Apache-2.0
import type { OptionSpec } from "./command-spec.ts";
import { UsageError } from "./usage-error.ts";

/** The options a person gave, checked and turned into values, by their long name. */
export class OptionSet {
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(values: ReadonlyMap<string, unknown>) {
    this.#values = values;
  }

  /** The value of an option as its `parse` answers it; undefined where it was not given. */
  value(long: OptionSpec["long"]): unknown {
    return this.#values.get(long);
  }

  /** The value of an option that is kept as text. */
  text(long: OptionSpec["long"]): string | undefined {
    const value = this.#values.get(long);
    // A number came from the text it is put back into.
    return typeof value === "number" ? String(value) : (value as string | undefined);
  }

  /** As `text`; throws a UsageError where the option was not given. */
  required(long: OptionSpec["long"]): string {
    const value = this.text(long);
    if (value === undefined) throw new UsageError(`${long} is required`);
    return value;
  }

  /** True if the option was given, switch or not. */
  has(long: OptionSpec["long"]): boolean {
    return this.#values.has(long);
  }
}
