// SPDX-License-Identifier: Apache-2.0
/** Istio's iptables rules in the words of the programs that take them. */
import {
  type IptablesFamily,
  type IptablesProgram,
  type IptablesRule,
  type IptablesTable,
  rulesOf,
} from "./iptables-program.ts";

export interface DryRunOptions {
  /** Whether the IPv6 rules and the last ip6tables-save are shown. */
  readonly ipv6: boolean;
  /** Istio's sidecar command shows the state afterwards, its CNI agent does not. Default true. */
  readonly finalState?: boolean;
}

export interface RestoreOptions {
  /** Put on every rule, so that it is found again; absent: none. Letters, digits and punctuation, no space. */
  readonly comment?: string;
}

/** What must be there after the rules have been applied. */
export interface ChainFact {
  readonly table: IptablesTable;
  readonly chain: string;
  /** A chain of the kernel's, where rules of others may stand too. */
  readonly builtIn: boolean;
  /** How many rules of ours it holds; a chain of ours holds no others. */
  readonly rules: number;
  /** Arguments of iptables (6: ip6tables) that check one rule each: "-t", table, "-C", chain, … */
  readonly checks: readonly (readonly string[])[];
}

const BUILT_IN_CHAINS: ReadonlySet<string> = new Set(["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);
const TARGETS: ReadonlySet<string> = new Set(["ACCEPT", "RETURN", "DROP"]);

/** What Istio prints in a dry run: the programs it runs, and their input, line by line. */
export function renderDryRun(program: IptablesProgram, options: DryRunOptions): string {
  const final = options.finalState === false ? [] : ["iptables-save", ...(options.ipv6 ? ["ip6tables-save"] : [])];
  const lines = [
    // Both, always: Istio looks for what is there before it knows whether IPv6 matters.
    "iptables-save",
    "ip6tables-save",
    ...tableLines(program.v4, "* ", {}),
    ...(options.ipv6 ? tableLines(program.v6, "* ", {}) : []),
    ...final,
  ];
  return `${lines.join("\n")}\n`;
}

/**
 * Input of iptables-restore (6: ip6tables-restore) --noflush; the empty string when the family has no rules. A chain
 * that exists already makes it fail as a whole.
 */
export function renderRestore(program: IptablesProgram, family: IptablesFamily, options: RestoreOptions = {}): string {
  return tableLines(rulesOf(program, family), "*", options)
    .map((line) => `${line}\n`)
    .join("");
}

/** Every chain that the rules of a family touch or jump to, in order of appearance per table. */
export function chainFacts(
  program: IptablesProgram,
  family: IptablesFamily,
  options: RestoreOptions = {},
): readonly ChainFact[] {
  const rules = rulesOf(program, family);
  return tablesOf(rules).flatMap((table) => {
    const own = rules.filter((rule) => rule.table === table);
    return chainsOf(own).map((chain) => {
      const inside = own.filter((rule) => rule.chain === chain);
      const checks = inside.map((rule) => ["-t", table, "-C", chain, ...wordsOf(rule, options)]);
      return { table, chain, builtIn: BUILT_IN_CHAINS.has(chain), rules: inside.length, checks };
    });
  });
}

function tableLines(rules: readonly IptablesRule[], star: string, options: RestoreOptions): string[] {
  return tablesOf(rules).flatMap((table) => {
    const own = rules.filter((rule) => rule.table === table);
    const chains = chainsOf(own).filter((chain) => !BUILT_IN_CHAINS.has(chain));
    return [
      `${star}${table}`,
      ...chains.map((chain) => `-N ${chain}`),
      ...own.map((rule) => ruleLine(rule, options)),
      "COMMIT",
    ];
  });
}

function tablesOf(rules: readonly IptablesRule[]): IptablesTable[] {
  return [...new Set(rules.map((rule) => rule.table))].sort();
}

/** Those that hold rules, by their first, then those that are only jumped to: they must exist all the same. */
function chainsOf(rules: readonly IptablesRule[]): string[] {
  const jumps = rules.flatMap(({ words }) => (words.at(-2) === "-j" ? [words.at(-1) ?? ""] : []));
  return [...new Set([...rules.map((rule) => rule.chain), ...jumps.filter((target) => !TARGETS.has(target))])];
}

function ruleLine(rule: IptablesRule, options: RestoreOptions): string {
  const command = rule.position === undefined ? ["-A", rule.chain] : ["-I", rule.chain, String(rule.position)];
  return [...command, ...wordsOf(rule, options)].join(" ");
}

/** The comment is a match, so it stands before the target. */
function wordsOf(rule: IptablesRule, options: RestoreOptions): readonly string[] {
  if (options.comment === undefined) return rule.words;
  const target = rule.words.indexOf("-j");
  const comment = ["-m", "comment", "--comment", options.comment];
  return [...rule.words.slice(0, target), ...comment, ...rule.words.slice(target)];
}
