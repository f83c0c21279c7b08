// SPDX-License-Identifier: Apache-2.0
import { DemoFailure } from "./failure.ts";
import type { NamespacePair, Side } from "./namespace-pair.ts";
import type { Processes } from "./processes.ts";

const TOOLS = [["iptables-save"], ["ip6tables-save"], ["nft", "list", "ruleset"]] as const;

/** What one tool says about the rules in one namespace. */
export interface RuleListing {
  readonly color: Side["color"];
  readonly netns: string;
  readonly tool: string;
  /** Untouched. */
  readonly output: string;
  readonly rules: number;
}

/** Asks every tool in both namespaces. */
export async function listRules(processes: Processes, pair: NamespacePair): Promise<readonly RuleListing[]> {
  const listings: RuleListing[] = [];
  for (const { color, netns } of pair.sides) {
    for (const command of TOOLS) {
      const tool = command.join(" ");
      const { status, stdout, stderr } = await processes.run(command, { netns });
      if (status !== 0) throw new DemoFailure(`${tool} in ${color}: ${stderr.trim()}`);
      listings.push({ color, netns, tool, output: stdout.trimEnd(), rules: countRules(stdout) });
    }
  }
  return listings;
}

/** Rules in the output of `iptables-save` or `nft list ruleset`; empty tables and chains are none. */
export function countRules(output: string): number {
  return output.split("\n").filter((line) => /^-A |^\t\t(?!type |policy )/.test(line)).length;
}

/** Rules in both namespaces as iptables counts them; nftables lists the same ones again where it holds them. */
export function totalRules(listings: readonly RuleListing[]): number {
  const of = (nft: boolean): number =>
    listings.filter(({ tool }) => tool.startsWith("nft") === nft).reduce((sum, { rules }) => sum + rules, 0);
  return Math.max(of(false), of(true));
}
