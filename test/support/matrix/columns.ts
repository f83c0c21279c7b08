// SPDX-License-Identifier: Apache-2.0
/** The ways to intercept that are compared. */
import { execFileSync } from "node:child_process";
import type { Flavour } from "../../../src/intercept/iptables/tools.ts";
import { nftablesBackend } from "../../../src/intercept/nftables/backend.ts";
import { tproxyBackend } from "../../../src/intercept/tproxy/backend.ts";
import { whyUnusable } from "../iptables-save.ts";

export interface Column {
  readonly title: string;
  readonly mode: string;
  /** Which iptables the rules are to be made with. */
  readonly flavour?: Flavour;
}

export const COLUMNS: readonly Column[] = [
  { title: "ebpf", mode: "ebpf" },
  { title: "mixed", mode: "mixed", flavour: "nft" },
  { title: "iptables (nft)", mode: "iptables", flavour: "nft" },
  { title: "iptables (legacy)", mode: "iptables", flavour: "legacy" },
  { title: "tproxy", mode: "tproxy", flavour: "nft" },
  { title: "nftables", mode: "nftables" },
];

/** The program or feature of the kernel without which a column can't be had here. */
export async function missingFor({ mode, flavour }: Column): Promise<string | undefined> {
  if (mode === "tproxy") return (await tproxyBackend.probe()).reason;
  if (mode === "nftables") return (await nftablesBackend.probe()).reason;
  return flavour === undefined ? undefined : whyUnusable(flavour);
}

/**
 * A rule of somebody else's that does nothing. Where one flavour has rules, Shunt adds to those and does not bring in the
 * other.
 */
export function leaveRule(netnsPath: string, flavour: Flavour): void {
  for (const program of ["iptables", "ip6tables"]) {
    const rule = ["-w", "5", "-A", "FORWARD", "-m", "comment", "--comment", "somebody-else", "-j", "RETURN"];
    execFileSync("nsenter", [`--net=${netnsPath}`, `${program}-${flavour}`, ...rule], { stdio: "pipe" });
  }
}
