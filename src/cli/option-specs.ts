// SPDX-License-Identifier: Apache-2.0
import type { Completion, SwitchSpec, ValueSpec } from "./command-spec.ts";

export function toggle(long: string, description: string): SwitchSpec {
  return { kind: "switch", long, description };
}

export function value(
  long: string,
  metavar: string,
  description: string,
  more: {
    parse?: (text: string) => unknown;
    choices?: readonly string[];
    repeatable?: boolean;
    completion?: Completion;
  } = {},
): ValueSpec {
  return { kind: "value", long, metavar, description, ...more };
}
