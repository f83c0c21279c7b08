// SPDX-License-Identifier: Apache-2.0
import { describe } from "vitest";
import { findCommand } from "../../scripts/setup/machine.mjs";

/** Every way the agent intercepts; tests of what a user sees run in all of them. */
export const MODES = ["ebpf", "mixed", "iptables"] as const;
export type Mode = (typeof MODES)[number];

/** What records say of a connection in each direction. */
export function interceptionOf(mode: Mode, direction: "outbound" | "inbound"): "ebpf" | "iptables" {
  if (mode === "mixed") return direction === "outbound" ? "ebpf" : "iptables";
  return mode;
}

/** The same suite for every mode; one that cannot be run here is skipped and names the missing program. */
export function inEveryMode(title: string, suite: (mode: Mode) => void): void {
  for (const mode of MODES) {
    const missing = missingProgram(mode);
    const why = missing === undefined ? "" : ` (skipped without the program ${missing})`;
    describe.skipIf(missing !== undefined)(`${title} in mode ${mode}${why}`, () => {
      suite(mode);
    });
  }
}

function missingProgram(mode: Mode): string | undefined {
  const needed = mode === "ebpf" ? [] : ["iptables-restore", "ip6tables-restore"];
  return needed.find((program) => findCommand(program) === undefined);
}
