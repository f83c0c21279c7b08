// SPDX-License-Identifier: Apache-2.0
/** From what a namespace holds of ours to what it should hold, as one input for iptables-restore --noflush. Pure. */
import type { OwnRules, OwnTable } from "./rule-state.ts";

const NOTHING: OwnTable = { chains: new Map(), jumps: [] };

/** Empty when there is nothing to change. Each table is one transaction of iptables-restore. */
export function renderTransition(from: OwnRules, to: OwnRules): string {
  const tables = [...new Set([...to.keys(), ...from.keys()])];
  return tables.map((name) => renderTable(name, from.get(name) ?? NOTHING, to.get(name) ?? NOTHING)).join("");
}

function renderTable(name: string, from: OwnTable, to: OwnTable): string {
  const changed = [...to.chains].filter(([chain, lines]) => !sameLines(from.chains.get(chain), lines));
  const gone = [...from.chains.keys()].filter((chain) => !to.chains.has(chain));
  const lines = [
    // Under --noflush, declaring a chain empties it when it exists.
    ...[...changed.map(([chain]) => chain), ...gone].map((chain) => `:${chain} - [0:0]`),
    ...changed.flatMap(([, rules]) => rules),
    ...jumpChanges(from.jumps, to.jumps),
    ...gone.map((chain) => `-X ${chain}`),
  ];
  return lines.length === 0 ? "" : `*${name}\n${lines.join("\n")}\nCOMMIT\n`;
}

function jumpChanges(from: readonly string[], to: readonly string[]): string[] {
  const wanted = new Set(to);
  const deletes: string[] = [];
  for (const line of from) {
    // The first of equal jumps stays, further ones go; -D takes the first match, which leaves one.
    if (!wanted.delete(line)) deletes.push(line.replace(/^-A /, "-D "));
  }
  // In front of other rules: the address the workload asked for is the one to see, not one translated by others.
  const inserts = [...wanted].map((line) => line.replace(/^-A (\S+) /, "-I $1 1 "));
  return [...deletes, ...inserts];
}

function sameLines(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((line, i) => line === b[i]);
}
