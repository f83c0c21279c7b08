// SPDX-License-Identifier: Apache-2.0
import type { FlavourRules } from "./namespace-rules.ts";
import { dispatchChain, type Hook, isDispatchChain, ownerOf } from "./naming.ts";
import type { IptablesPlan } from "./plan.ts";
import { render } from "./render.ts";
import type { Family } from "./rule.ts";
import { isJump, type OwnRules, type OwnTable, parseSave, withoutWorkload } from "./rule-state.ts";
import { canonicalForm } from "./tools.ts";

/** One difference between what should be there and what is. */
export interface Drift {
  readonly family: Family;
  readonly table: string;
  readonly chain: string;
  readonly kind: "missing" | "unexpected" | "changed";
  /** In the words of iptables-save. */
  readonly expected: readonly string[];
  readonly actual: readonly string[];
}

const NOTHING: OwnTable = { chains: new Map(), jumps: [] };

/**
 * The expectation is made by the same program in a fresh namespace, because each version and flavour of
 * iptables-save has its own way to write a rule.
 */
export async function driftOf(plan: IptablesPlan, actual: FlavourRules, signal?: AbortSignal): Promise<Drift[]> {
  const drifts: Drift[] = [];
  for (const [family, { tools, own }] of actual.families) {
    const expected = parseSave(await canonicalForm(tools, render(plan, family), signal));
    drifts.push(...compare(family, expected, onlyWorkload(own, plan.name)));
  }
  return drifts;
}

/** Without the chains and rules of other workloads; jumps stay. */
function onlyWorkload(own: OwnRules, name: string): OwnRules {
  const others = withoutWorkload(own, name);
  return new Map(
    [...own].map(([key, table]) => {
      const foreign = others.get(key)?.chains ?? new Map<string, readonly string[]>();
      const chains = [...table.chains]
        .filter(([chain]) => isDispatchChain(chain) || !foreign.has(chain))
        .map(([chain, lines]): [string, readonly string[]] => [
          chain,
          isDispatchChain(chain) ? lines.filter((l) => ownerOf(l) === name) : lines,
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
    for (const hook of ["OUTPUT", "PREROUTING"] satisfies Hook[]) {
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
