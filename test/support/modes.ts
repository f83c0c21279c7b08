// SPDX-License-Identifier: Apache-2.0
import { describe } from "vitest";
import { findCommand } from "../../scripts/setup/machine.mjs";

/** Every way the agent intercepts; tests of what a user sees run in all of them. */
export const MODES = ["ebpf", "mixed", "iptables", "nftables"] as const;
export type Mode = (typeof MODES)[number];

const NEEDED: Readonly<Record<Mode, readonly string[]>> = {
  ebpf: [],
  mixed: ["iptables-restore", "ip6tables-restore"],
  iptables: ["iptables-restore", "ip6tables-restore"],
  nftables: ["nft"],
};

/** What records say of a connection in each direction. */
export function interceptionOf(mode: Mode, direction: "outbound" | "inbound"): "ebpf" | "iptables" | "nftables" {
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
  return NEEDED[mode].find((program) => findCommand(program) === undefined);
}
