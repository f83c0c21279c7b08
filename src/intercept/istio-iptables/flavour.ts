// SPDX-License-Identifier: Apache-2.0
/** Which iptables: by what is installed and by what has rules in the target namespace; trying tells the rest. */
import { type Flavour, installedTools, type Tools } from "../iptables/tools.ts";
import { FamilyRules } from "./family.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";
import { guardrailsIn, hasTraces, isInUse, parseSavedRules } from "./saved-rules.ts";
import type { TargetNamespace } from "./target.ts";

/** One flavour as it is in the namespace. */
export interface Candidate {
  readonly flavour: Flavour;
  readonly v4: FamilyRules;
  /** Undefined when ip6tables of this flavour is not installed. */
  readonly v6: FamilyRules | undefined;
  /** Anybody has rules in it. */
  readonly inUse: boolean;
  /** There are chains with our prefix, or rules that lead to one, or a guardrail. */
  readonly hasTraces: boolean;
}

/** Every flavour that is installed and can be read, with the reasons of those that can't. */
export interface Survey {
  readonly found: readonly Candidate[];
  readonly failures: readonly string[];
}

export async function survey(target: TargetNamespace, prefix: string): Promise<Survey> {
  const installed = await installedTools(target.signal);
  const found: Candidate[] = [];
  const failures: string[] = [];
  for (const tools of installed) {
    try {
      found.push(await examine(target, tools, prefix));
    } catch (error) {
      target.signal?.throwIfAborted();
      failures.push(`${tools.flavour}: ${(error as Error).message}`);
    }
  }
  return { found, failures };
}

/**
 * The flavours to try, the best first: the one that has Istio's chains already; else legacy if anybody has rules in it,
 * else nft, else legacy, which is Istio's order. Throws when there is none, or not the one that is forced.
 */
export function candidates({ found, failures }: Survey, forced: Flavour | undefined): readonly Candidate[] {
  const usable = found.filter(({ flavour }) => forced === undefined || flavour === forced).sort(byPreference);
  if (usable.length > 0) return usable;
  const reason = failures.length > 0 ? failures.join("; ") : `${describe(forced)} is not installed`;
  throw new IstioIptablesError("ERR_ISTIO_UNAVAILABLE", `no usable iptables: ${reason}`);
}

function describe(forced: Flavour | undefined): string {
  return forced === undefined ? "iptables" : `iptables of flavour ${forced}`;
}

async function examine(target: TargetNamespace, tools: Tools, prefix: string): Promise<Candidate> {
  const v4 = new FamilyRules(target, 4, tools, prefix);
  const v6 = tools[6] && new FamilyRules(target, 6, tools, prefix);
  // A kernel without IPv6 has nothing to read there; whoever needs it will hear why.
  const texts = [await v4.saveText(), v6 === undefined ? "" : await v6.saveText().catch(() => "")];
  const saved = texts.map(parseSavedRules);
  return {
    flavour: tools.flavour,
    v4,
    v6,
    inUse: texts.some(isInUse),
    hasTraces: saved.some((rules) => hasTraces(rules, prefix) || guardrailsIn(rules).length > 0),
  };
}

function byPreference(a: Candidate, b: Candidate): number {
  return rank(a) - rank(b);
}

function rank({ flavour, inUse, hasTraces }: Candidate): number {
  if (hasTraces) return flavour === "nft" ? 0 : 1;
  if (flavour === "legacy" && inUse) return 2;
  return flavour === "nft" ? 3 : 4;
}
