// SPDX-License-Identifier: Apache-2.0
/** Plans in the words of nft(8). Pure. */
import type { Dispatch } from "./chain.ts";
import { commentOf, longNamePieces, rankValue, TABLE_WORDS } from "./naming.ts";
import type { NftablesPlan } from "./plan.ts";
import { BASE_CHAINS, type BaseChain, type Count, type Rule } from "./rule.ts";

/** For a namespace that has nothing of ours: input of `nft -f -`, one transaction. */
export function render(plan: NftablesPlan): string {
  const dispatch = sortedByRank(plan.dispatch).map(
    (entry) => `add rule ${TABLE_WORDS} ${entry.base} ${renderDispatch(plan, entry)}\n`,
  );
  return [renderObjects(plan), ...dispatch].join("");
}

export function sortedByRank(dispatch: readonly Dispatch[]): Dispatch[] {
  return dispatch.toSorted((a, b) => rankValue(a.rank) - rankValue(b.rank));
}

/**
 * The table with the base chains that the plan needs, and everything that is the workload's own. Counters that are
 * there keep what they have counted.
 */
export function renderObjects(plan: NftablesPlan, existingCounters: ReadonlySet<string> = new Set()): string {
  const bases = [...new Set(plan.dispatch.map(({ base }) => base))];
  const names = longNamePieces(plan.name);
  return [
    `table ${TABLE_WORDS} {\n`,
    ...countersOf(plan)
      .filter((name) => !existingCounters.has(name))
      .map((name) => `\tcounter ${name} { }\n`),
    ...plan.sets.map(
      ({ name, type, elements }) =>
        `\tset ${name} {\n\t\ttype ${type}\n\t\tflags interval\n\t\telements = { ${elements.join(",\n\t\t\t")} }\n\t}\n`,
    ),
    ...(names
      ? [
          chain(
            names.chain,
            names.comments.map((comment) => `continue comment "${comment}"`),
          ),
        ]
      : []),
    ...plan.chains.map(({ name, rules }) =>
      chain(
        name,
        rules.map((rule) => renderChainRule(plan, rule)),
      ),
    ),
    ...bases.map((base) => chain(base, [`type ${typeOf(base)}; policy accept;`])),
    "}\n",
  ].join("");
}

/** A rule of a chain of the workload. */
export function renderChainRule(plan: NftablesPlan, rule: Rule): string {
  return `${renderRule(plan, rule)} comment "${commentOf(plan.name)}"`;
}

/** A rule of a base chain, with the comment by which it finds its place among those of others. */
export function renderDispatch(plan: NftablesPlan, { rank, rule }: Dispatch): string {
  return `${renderRule(plan, rule)} comment "${commentOf(plan.name, rank)}"`;
}

/** Names of the counters of a plan. */
export function countersOf(plan: NftablesPlan): string[] {
  const counts = [...plan.chains.flatMap(({ rules }) => rules), ...plan.dispatch.map(({ rule }) => rule)]
    .map(({ count }) => count)
    .filter((count) => count !== undefined);
  return [...new Set(counts.map((count) => counterName(plan.prefix, count)))].sort();
}

export function counterName(prefix: string, { direction, reason }: Count): string {
  return `${prefix}${direction}-${reason}`;
}

function renderRule(plan: NftablesPlan, { match, count, statement }: Rule): string {
  const counter = count ? [`counter name ${counterName(plan.prefix, count)}`] : [];
  return [...match, ...counter, statement].join(" ");
}

function typeOf(base: BaseChain): string {
  const { type, hook, priority } = BASE_CHAINS[base];
  return `${type} hook ${hook} priority ${priority}`;
}

function chain(name: string, lines: readonly string[]): string {
  return `\tchain ${name} {\n${lines.map((line) => `\t\t${line}\n`).join("")}\t}\n`;
}
