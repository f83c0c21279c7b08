// SPDX-License-Identifier: Apache-2.0
import { describe } from "vitest";
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

/** One for each way in which connections come to the proxy; SHUNT_MODES=all makes it every mode. */
const KINDS: readonly Mode[] = process.env["SHUNT_MODES"] === "all" ? MODES : ["ebpf", "iptables", "tproxy"];

/**
 * For suites that wait a long time: `mixed` and `nftables` differ from these in nothing that they look at, and are in the
 * suites of `inEveryMode`, the matrix and the migrations.
 */
export function inEveryKindOfMode(title: string, suite: (mode: Mode) => void): void {
  inModes(KINDS, title, suite);
}

/** The same suite for every mode; one that cannot be run here is skipped and names the missing program. */
export function inEveryMode(title: string, suite: (mode: Mode) => void): void {
  inModes(MODES, title, suite);
}

function inModes(modes: readonly Mode[], title: string, suite: (mode: Mode) => void): void {
  for (const mode of modes) {
    const missing = missingProgram(mode);
    const why = missing === undefined ? "" : ` (skipped without the program ${missing})`;
    describe.skipIf(missing !== undefined)(`${title} in mode ${mode}${why}`, () => {
      suite(mode);
    });
  }
}

export function missingProgram(mode: Mode): string | undefined {
  return NEEDED[mode].find((program) => findCommand(program) === undefined);
}
