// SPDX-License-Identifier: Apache-2.0
import type { Drift } from "../backend.ts";
import type { FlavourRules } from "./namespace-rules.ts";
import { dispatchChain, HOOKS, isDispatchChain, ownerOf } from "./naming.ts";
import type { IptablesPlan } from "./plan.ts";
import { restoreText } from "./render.ts";
import type { Family } from "./rule.ts";
import { isJump, type OwnRules, type OwnTable, parseSave, withoutWorkload } from "./rule-state.ts";
import { canonicalForm } from "./tools.ts";

const NOTHING: OwnTable = { chains: new Map(), jumps: [] };

/** What a plan looks like once it is in force, by family. */
export type Expectation = ReadonlyMap<Family, OwnRules>;

/**
 * The expectation is made by the same program in a fresh namespace, because each version and flavour of
 * iptables-save has its own way to write a rule. Throws an IptablesError where this flavour can't have the rules.
 */
export async function expectationOf(
  plan: IptablesPlan,
  flavour: FlavourRules,
  signal?: AbortSignal,
): Promise<Expectation> {
  const families = await Promise.all(
    [...flavour.families].map(
      async ([family, { tools }]): Promise<[Family, OwnRules]> => [
        family,
        parseSave(await canonicalForm(tools, restoreText(plan, family), signal)),
      ],
    ),
  );
  return new Map(families);
}

/** How the rules of one workload differ from the expectation. */
export function driftOf(expectation: Expectation, actual: FlavourRules, name: string): Drift[] {
  return [...actual.families].flatMap(([family, { own }]) =>
    compare(family, expectation.get(family) ?? new Map(), onlyWorkload(own, name)),
  );
}

/** Without the chains and rules of other workloads; jumps stay, and rules of nobody between ours. */
function onlyWorkload(own: OwnRules, name: string): OwnRules {
  const others = withoutWorkload(own, name);
  return new Map(
    [...own].map(([key, table]) => {
      const foreign = others.get(key)?.chains ?? new Map<string, readonly string[]>();
      const chains = [...table.chains]
        .filter(([chain]) => isDispatchChain(chain) || !foreign.has(chain))
        .map(([chain, lines]): [string, readonly string[]] => [
          chain,
          isDispatchChain(chain) ? lines.filter((line) => [name, undefined].includes(ownerOf(line))) : lines,
        ]);
      return [
        key,
        {
          chains: new Map(chains.filter(([chain, lines]) => lines.length > 0 || !isDispatchChain(chain))),
          jumps: table.jumps,
        },
      ];
    }),
  );
}

function compare(family: Family, expected: OwnRules, actual: OwnRules): Drift[] {
  const drifts: Drift[] = [];
  for (const table of [...new Set([...expected.keys(), ...actual.keys()])].sort()) {
    const want = expected.get(table) ?? NOTHING;
    const have = actual.get(table) ?? NOTHING;
    for (const chain of new Set([...want.chains.keys(), ...have.chains.keys()])) {
      const drift = difference(want.chains.get(chain), have.chains.get(chain));
      if (drift) drifts.push({ family, table, chain, ...drift });
    }
    for (const hook of HOOKS) {
      if (!want.chains.has(dispatchChain(hook))) continue;
      const jumps = (of: OwnTable): readonly string[] => of.jumps.filter((line) => isJump(line, hook));
      const drift = difference(jumps(want), jumps(have));
      if (drift) drifts.push({ family, table, chain: hook, ...drift });
    }
  }
  return drifts;
}

function difference(
  expected: readonly string[] | undefined,
  actual: readonly string[] | undefined,
): Pick<Drift, "kind" | "expected" | "actual"> | undefined {
  if (expected?.join("\n") === actual?.join("\n")) return undefined;
  const kind =
    !actual || actual.length === 0 ? "missing" : !expected || expected.length === 0 ? "unexpected" : "changed";
  return { kind, expected: expected ?? [], actual: actual ?? [] };
}
