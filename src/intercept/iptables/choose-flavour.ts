// SPDX-License-Identifier: Apache-2.0
/** Which of the installed iptables is written to. Pure. */
import type { FlavourRules } from "./namespace-rules.ts";
import { workloadsIn } from "./rule-state.ts";
import type { Flavour } from "./tools.ts";

export interface ChoiceFacts {
  /** The workload that rules are for; one flavour may have its rules already. */
  readonly name?: string;
  /** The namespace has IPv6, so that a flavour without IPv6 rules is of no use while there is another. */
  readonly ipv6?: boolean;
  /** Nothing else is to be considered. */
  readonly only?: Flavour;
}

/**
 * `found` (the machine's default first) in the order in which to try them: where the workload has rules, where anybody
 * has rules, the default. Rules of one namespace in two flavours are read by neither tool as a whole, so a new flavour is
 * only brought in when the one that is there can't do it.
 */
export function byPreference(found: readonly FlavourRules[], facts: ChoiceFacts = {}): FlavourRules[] {
  const { name, ipv6 = false, only } = facts;
  const candidates = found.filter((f) => only === undefined || f.tools.flavour === only);
  const unique = (fits: (f: FlavourRules) => boolean): FlavourRules[] => {
    const fitting = candidates.filter(fits);
    return fitting.length === 1 ? fitting : [];
  };
  const order = [...unique((f) => name !== undefined && holds(f, name)), ...unique((f) => f.inUse), ...candidates];
  const distinct = [...new Set(order)];
  const whole = (f: FlavourRules): boolean => !ipv6 || f.families.has(6);
  return [...distinct.filter(whole), ...distinct.filter((f) => !whole(f))];
}

export function holds(flavour: FlavourRules, name: string): boolean {
  return namesIn([flavour]).includes(name);
}

/** Workloads that have rules in any of them. */
export function namesIn(found: readonly FlavourRules[]): string[] {
  const names = found.flatMap((f) => [...f.families.values()].flatMap(({ own }) => workloadsIn(own)));
  return [...new Set(names)].sort();
}
