// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { canonicalIp } from "../../util/ip.ts";
import type { Decision, Question } from "../decision.ts";
import { TABLE_WORDS } from "./naming.ts";
import type { NftablesPlan } from "./plan.ts";
import { renderChainRule } from "./render.ts";
import { type Family, NOT_BEGINNING, type Rule } from "./rule.ts";

/** Chain and text of the rule that decides; the end of the chain where none does. See RuleFor. */
export function nftablesRuleFor(plan: NftablesPlan, question: Question, { reason, item }: Decision): string {
  const family: Family = isIP(canonicalIp(question.address)) === 4 ? 4 : 6;
  // A proxy that calls its own pod is counted where it enters.
  const direction = reason === "proxy-to-self" ? "inbound" : question.direction;
  const main = `${plan.prefix}${question.direction === "inbound" ? "in" : "out"}`;
  for (const name of [main, `${plan.prefix}own`]) {
    const fits = ({ count, match }: Rule): boolean =>
      count?.reason === reason &&
      count.direction === direction &&
      match.every((phrase) => allows(phrase, family, question)) &&
      (reason !== "dns" || item?.kind !== "cidr" || names(match, item.cidr.address));
    const rule = plan.chains.find((chain) => chain.name === name)?.rules.find(fits);
    if (rule) return `${TABLE_WORDS} ${name} ${renderChainRule(plan, rule)}`;
  }
  return `${TABLE_WORDS} ${main}: no rule, its end`;
}

/** Whether a phrase is about packets of another family or protocol. */
function allows(phrase: string, family: Family, { transport, interface: by }: Question): boolean {
  if (phrase === NOT_BEGINNING) return false;
  if (/^ip (s|d)addr|ipv4$/.test(phrase)) return family === 4;
  if (/^ip6 (s|d)addr|ipv6$/.test(phrase)) return family === 6;
  if (by !== undefined && /^[io]ifname /.test(phrase)) return namesInterface(phrase, by);
  return !/^(tcp|udp) dport/.test(phrase) || phrase.startsWith(transport);
}

/** `iifname { "a", "b" }`; an asterisk stands for any ending. */
function namesInterface(phrase: string, name: string): boolean {
  return [...phrase.matchAll(/"([^"]*)"/g)].some(([, pattern = ""]) =>
    pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
  );
}

/** Resolvers stand in the rules themselves. */
function names(match: readonly string[], address: string): boolean {
  return match.some((phrase) => phrase.split(/[{}, ]+/).includes(address));
}
