// SPDX-License-Identifier: Apache-2.0
/** Istio's iptables rules as data, in the order in which Istio makes them. */

export type IptablesFamily = 4 | 6;
export type IptablesTable = "mangle" | "nat" | "raw";

export interface IptablesRule {
  readonly table: IptablesTable;
  readonly chain: string;
  /** "-I CHAIN position"; absent: appended. */
  readonly position?: number;
  /** Matches and target, one word each, as printed. */
  readonly words: readonly string[];
}

export interface IptablesProgram {
  readonly v4: readonly IptablesRule[];
  /** Empty while IPv6 is off. */
  readonly v6: readonly IptablesRule[];
}

export interface ProgramOptions {
  /** What stands before "_OUTPUT" and the other names of chains: ISTIO unless told otherwise. */
  readonly chainPrefix?: string;
}

/** Istio's constant: the name under which its CNI agent and its tests look for the chains. */
export const ISTIO_CHAIN_PREFIX = "ISTIO";

/** The families that get rules. */
export function familiesOf(enableIpv6: boolean): readonly IptablesFamily[] {
  return enableIpv6 ? [4, 6] : [4];
}

export function rulesOf(program: IptablesProgram, family: IptablesFamily): readonly IptablesRule[] {
  return family === 4 ? program.v4 : program.v6;
}

/** A rule from its text; no word of Istio's rules holds a space. */
export function append(table: IptablesTable, chain: string, text: string): IptablesRule {
  return { table, chain, words: text.split(" ") };
}

export function insert(table: IptablesTable, chain: string, position: number, text: string): IptablesRule {
  return { ...append(table, chain, text), position };
}

export function programOf(
  enableIpv6: boolean,
  rules: (family: IptablesFamily) => readonly IptablesRule[],
): IptablesProgram {
  return { v4: rules(4), v6: enableIpv6 ? rules(6) : [] };
}
