// SPDX-License-Identifier: Apache-2.0
/** What a namespace holds, in the words of iptables-save. Pure. */

/** Table → chain, built-in ones too → its "-A" lines in order. */
export type SavedRules = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** Marks rules that drop all traffic while others are replaced, so that a later run knows them as ours. */
export const GUARDRAIL_COMMENT = "shunt-guardrail";

export function parseSavedRules(text: string): SavedRules {
  const tables = new Map<string, Map<string, string[]>>();
  let chains = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      chains = new Map();
      tables.set(line.slice(1).trim(), chains);
    } else if (line.startsWith(":")) {
      chains.set(line.slice(1).split(" ", 1)[0] ?? "", []);
    } else if (line.startsWith("-A ")) {
      chains.get(line.split(" ", 2)[1] ?? "")?.push(line.trimEnd());
    }
  }
  return tables;
}

export function chainOf(saved: SavedRules, table: string, chain: string): readonly string[] | undefined {
  return saved.get(table)?.get(chain);
}

export function isOurChain(chain: string, prefix: string): boolean {
  return chain.startsWith(`${prefix}_`);
}

/** Jumps and gotos; what stands in a comment is none. */
export function leadsToOurChain(line: string, prefix: string): boolean {
  const target = / -[jg] (\S+)/.exec(line.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""'))?.[1];
  return target !== undefined && isOurChain(target, prefix);
}

export function isGuardrail(line: string): boolean {
  return line.includes(` --comment ${GUARDRAIL_COMMENT} `) || line.includes(` --comment "${GUARDRAIL_COMMENT}" `);
}

/** Chains of ours, and rules elsewhere that lead to one. */
export interface OwnTraces {
  readonly chains: readonly string[];
  readonly jumps: readonly string[];
}

export function tracesIn(saved: SavedRules, table: string, prefix: string): OwnTraces {
  const chains = [...(saved.get(table) ?? [])];
  return {
    chains: chains.map(([chain]) => chain).filter((chain) => isOurChain(chain, prefix)),
    jumps: chains
      .filter(([chain]) => !isOurChain(chain, prefix))
      .flatMap(([, lines]) => lines.filter((line) => leadsToOurChain(line, prefix))),
  };
}

export function hasTraces(saved: SavedRules, prefix: string): boolean {
  return [...saved.keys()].some((table) => {
    const { chains, jumps } = tracesIn(saved, table, prefix);
    return chains.length + jumps.length > 0;
  });
}

export function guardrailsIn(saved: SavedRules): string[] {
  return [...(saved.get("filter")?.values() ?? [])].flatMap((lines) => lines.filter(isGuardrail));
}

/** Whether anybody has a rule or a chain there. */
export function isInUse(text: string): boolean {
  return /^(-A |:\S+ - )/m.test(text);
}
