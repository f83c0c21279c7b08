// SPDX-License-Identifier: Apache-2.0
import type { AddressSet } from "./address-set.ts";
import type { Rank } from "./naming.ts";
import type { BaseChain, Rule } from "./rule.ts";

/** A chain of one workload. */
export interface Chain {
  readonly name: string;
  readonly rules: readonly Rule[];
}

/** A rule that leads packets of a base chain, which all workloads share, to a chain of one. */
export interface Dispatch {
  readonly base: BaseChain;
  readonly rank: Rank;
  readonly rule: Rule;
}

/** A part of a plan. */
export interface Part {
  /** A chain comes before those that lead to it. */
  readonly chains: readonly Chain[];
  readonly sets: readonly AddressSet[];
  readonly dispatch: readonly Dispatch[];
}

export function joinParts(parts: readonly Part[]): Part {
  return {
    chains: parts.flatMap(({ chains }) => chains),
    sets: parts.flatMap(({ sets }) => sets),
    dispatch: parts.flatMap(({ dispatch }) => dispatch),
  };
}
