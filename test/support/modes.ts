// SPDX-License-Identifier: Apache-2.0
import { describe, type TestOptions } from "vitest";
import { findCommand } from "../../scripts/setup/machine.mjs";
import type { BackendName } from "../../src/intercept/backend.ts";

/** Every way the agent intercepts; tests of what a user sees run in all of them. */
export const MODES = ["ebpf", "mixed", "iptables", "tproxy", "nftables"] as const;
export type Mode = (typeof MODES)[number];

const NEEDED: Readonly<Record<Mode, readonly string[]>> = {
  ebpf: [],
  mixed: ["iptables-restore", "ip6tables-restore"],
  iptables: ["iptables-restore", "ip6tables-restore"],
  tproxy: ["iptables-restore", "ip6tables-restore", "ip"],
  nftables: ["nft"],
};

/** What records say of a connection in each direction. */
export function interceptionOf(mode: Mode, direction: "outbound" | "inbound"): BackendName {
  if (mode === "mixed") return direction === "outbound" ? "ebpf" : "iptables";
  if (mode === "tproxy") return direction === "outbound" ? "iptables" : "tproxy";
  return mode;
}

/** SHUNT_MODES=all: every suite in every mode, every exchange of modes, every combination; CI has not the time for it. */
export const ALL_MODES = process.env["SHUNT_MODES"] === "all";

/**
 * For suites that wait a long time, in the modes named, of which each has a mechanism of its own; every mode is in several
 * of them, and in the suites of `inEveryMode`, the matrix and the migrations.
 */
export function inSomeModes(
  few: readonly Mode[],
  title: string,
  suite: (mode: Mode) => void,
  options: TestOptions = {},
): void {
  inModes(ALL_MODES ? MODES : few, title, suite, options);
}

/** For suites with modes of their own: `few`, and with SHUNT_MODES=all the others too. */
export function someOf(few: readonly Mode[], ...others: readonly Mode[]): readonly Mode[] {
  return ALL_MODES ? [...few, ...others] : few;
}

/** The same suite for every mode; one that cannot be run here is skipped and names the missing program. */
export function inEveryMode(title: string, suite: (mode: Mode) => void): void {
  inModes(MODES, title, suite);
}

function inModes(modes: readonly Mode[], title: string, suite: (mode: Mode) => void, options: TestOptions = {}): void {
  for (const mode of modes) {
    const missing = missingProgram(mode);
    const why = missing === undefined ? "" : ` (skipped without the program ${missing})`;
    describe.skipIf(missing !== undefined)(`${title} in mode ${mode}${why}`, options, () => {
      suite(mode);
    });
  }
}

export function missingProgram(mode: Mode): string | undefined {
  return NEEDED[mode].find((program) => findCommand(program) === undefined);
}
