// SPDX-License-Identifier: Apache-2.0
/** Inputs of iptables-restore --noflush that take away, block and put back. Each table in one is a transaction. Pure. */
import { GUARDRAIL_COMMENT, guardrailsIn, isOurChain, type SavedRules, tracesIn } from "./saved-rules.ts";

/** A rule in a chain of the kernel's that leads to none of ours, so that only its text tells it: "-D" arguments of its table. */
export interface LooseRule {
  readonly table: string;
  /** Chain, matches and target. */
  readonly words: readonly string[];
}

/** Takes away every chain with the prefix, what leads to them, and the given rules. "" when there is nothing. */
export function renderCleanup(saved: SavedRules, prefix: string, loose: readonly LooseRule[]): string {
  const tables = new Set([...saved.keys(), ...loose.map((rule) => rule.table)]);
  return [...tables]
    .map((table) => {
      const { chains, jumps } = tracesIn(saved, table, prefix);
      const own = loose.filter((rule) => rule.table === table);
      return renderTable(table, [
        ...jumps.map(asDelete),
        ...own.map(({ words }) => `-D ${words.join(" ")}`),
        ...chains.map((chain) => `-F ${chain}`),
        ...chains.map((chain) => `-X ${chain}`),
      ]);
    })
    .join("");
}

/** Drops all TCP and UDP, in front of whatever is there. "" when that is so already. */
export function renderGuardrails(saved: SavedRules): string {
  if (guardrailsIn(saved).length > 0) return "";
  const rules = ["INPUT", "FORWARD", "OUTPUT"].flatMap((chain) =>
    ["tcp", "udp"].map((protocol) => `-I ${chain} 1 -p ${protocol} -m comment --comment ${GUARDRAIL_COMMENT} -j DROP`),
  );
  return renderTable("filter", rules);
}

export function renderGuardrailRemoval(saved: SavedRules): string {
  return renderTable("filter", guardrailsIn(saved).map(asDelete));
}

/**
 * From a namespace in which nothing of ours is left to how it was before: our chains, and in others the rules that
 * are missing, each at the place it had.
 */
export function renderReturn(before: SavedRules, now: SavedRules, prefix: string): string {
  return [...before]
    .map(([table, chains]) => {
      const own = [...chains].filter(([chain]) => isOurChain(chain, prefix));
      const others = [...chains].filter(([chain]) => !isOurChain(chain, prefix));
      return renderTable(table, [
        ...own.map(([chain]) => `-N ${chain}`),
        ...own.flatMap(([, lines]) => lines),
        ...others.flatMap(([chain, lines]) => missingRules(chain, lines, now.get(table)?.get(chain) ?? [])),
      ]);
    })
    .join("");
}

function missingRules(chain: string, before: readonly string[], now: readonly string[]): string[] {
  const there = [...now];
  return before.flatMap((line, i) => {
    const at = there.indexOf(line);
    if (at >= 0) {
      there.splice(at, 1);
      return [];
    }
    return [line.replace(`-A ${chain}`, `-I ${chain} ${i + 1}`)];
  });
}

function asDelete(line: string): string {
  return line.replace(/^-A /, "-D ");
}

function renderTable(table: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}
