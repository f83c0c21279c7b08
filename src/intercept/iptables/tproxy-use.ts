// SPDX-License-Identifier: Apache-2.0
/** Which rules need marked packets to be delivered locally. */
import { namesIn } from "./choose-flavour.ts";
import type { FlavourRules } from "./namespace-rules.ts";
import { ownerOf } from "./naming.ts";
import { type OwnRules, withoutWorkload } from "./rule-state.ts";

/** Whether any rule of ours does; `besides`: not counting that workload's. */
export function needsRouting(found: readonly FlavourRules[], besides?: string): boolean {
  return rulesIn(found).some(
    (own) => tproxyLines(besides === undefined ? own : withoutWorkload(own, besides)).length > 0,
  );
}

/** Names of the workloads with such rules. */
export function workloadsNeedingRouting(found: readonly FlavourRules[]): string[] {
  const owners = new Set(rulesIn(found).flatMap(tproxyLines).map(ownerOf));
  return namesIn(found).filter((name) => owners.has(name));
}

function rulesIn(found: readonly FlavourRules[]): OwnRules[] {
  return found.flatMap(({ families }) => [...families.values()].map(({ own }) => own));
}

function tproxyLines(rules: OwnRules): string[] {
  const lines = [...rules.values()].flatMap(({ chains }) => [...chains.values()].flat());
  return lines.filter((line) => line.includes(" -j TPROXY "));
}
