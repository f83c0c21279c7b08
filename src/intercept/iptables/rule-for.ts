// SPDX-License-Identifier: Apache-2.0
import { isIP } from "node:net";
import { canonicalIp } from "../../util/ip.ts";
import type { Decision, Item, Question, Reason } from "../decision.ts";
import { matchesInterface } from "../interface-name.ts";
import type { InterceptSpec, ProxyIdentity } from "../spec.ts";
import { type ChainRole, workloadChain } from "./naming.ts";
import { markWord } from "./own-traffic.ts";
import type { IptablesPlan } from "./plan.ts";
import { type Family, loopbackRange, passthroughSource, type Rule } from "./rule.ts";
import { renderRule } from "./rule-text.ts";

const HOOKS = { outbound: "OUTPUT", inbound: "PREROUTING" } as const;
/** With TPROXY, mangle decides who enters the pod itself. */
const OUTBOUND_CHAINS: Partial<Record<Reason, readonly ChainRole[]>> = {
  dns: ["DNS"],
  "proxy-to-self": ["REENTER", "OUT"],
};

type Fits = (rule: Rule) => boolean;

/** Table, chain and text of the rule that decides; the end of the chain where none does. See RuleFor. */
export function iptablesRuleFor(
  plan: IptablesPlan,
  { proxy }: Pick<InterceptSpec, "proxy">,
  question: Question,
  decision: Decision,
): string {
  const family: Family = isIP(canonicalIp(question.address)) === 4 ? 4 : 6;
  const roles: readonly ChainRole[] =
    question.direction === "inbound" ? ["IN"] : (OUTBOUND_CHAINS[decision.reason] ?? ["OUT"]);
  const chains = roles.map((role) => workloadChain(plan.name, role));
  const fits = all(ofTransport(question), fitting(family, proxy, question, decision));
  for (const { table, chains: planned, dispatch } of plan.families[family]) {
    const places = [
      ...planned.filter(({ name }) => chains.includes(name)),
      ...dispatch
        .filter(({ hook }) => hook === HOOKS[question.direction])
        .map(({ hook, rules }) => ({ name: hook as string, rules })),
    ];
    for (const { name, rules } of table === "raw" ? [] : places) {
      const rule = rules.find(fits);
      if (rule) return `${table} ${renderRule(name, rule, plan.name)}`;
    }
  }
  const last = plan.families[family].find(
    ({ table, chains: planned }) => table !== "raw" && planned.some(({ name }) => chains.includes(name)),
  );
  return `${last?.table ?? "nat"} ${chains.join(", ")}: no rule, its end`;
}

const returns: Fits = ({ target }) => target.includes("RETURN");
const leads: Fits = (rule) => !returns(rule);
const EXCLUDES: ReadonlySet<Reason> = new Set(["port-excluded", "cidr-excluded", "interface-excluded"]);

function fitting(family: Family, proxy: ProxyIdentity, question: Question, { reason, item }: Decision): Fits {
  const mark = proxy.mark ? words("--mark", markWord(proxy.mark)) : () => false;
  const own = item ? byItem(item) : either(mark, word("--path"));
  const special: Partial<Record<Reason, Fits>> = {
    "all-included": all(leads, ({ match }) => /^-p tcp( --syn)?$/.test(match.join(" "))),
    dns: all(leads, item ? byItem(item) : ({ match }) => !match.includes("-d")),
    loopback: all(returns, either(overLo, words("-d", loopbackRange(family)))),
    "local-address": all(returns, overLo),
    "passthrough-source": all(returns, words("-s", passthroughSource(family))),
    "own-listener": all(returns, listsPort(question.port)),
    "own-traffic": all(returns, own),
    "proxy-to-self": all(leads, words("-o", "lo"), own),
    "owner-group": all(returns, item ? byItem(item) : inNoGroup),
  };
  const known = special[reason];
  if (known || !item) return known ?? (() => false);
  return all(EXCLUDES.has(reason) ? returns : leads, byItem(item));
}

function byItem(item: Item): Fits {
  switch (item.kind) {
    case "port":
      return listsPort(item.port);
    case "cidr": {
      const range = `${item.cidr.address}/${item.cidr.prefixLength}`;
      return words(item.set.startsWith("inbound") ? "-s" : "-d", range);
    }
    case "owner":
      return words(`--${item.by}-owner`, String(item.id));
    case "interface":
      return ({ match }) =>
        match.some((word, i) => /^-[io]$/.test(match[i - 1] ?? "") && matchesInterface(word, item.name));
    case "address":
      return words("-o", "lo");
    default:
      return item satisfies never;
  }
}

/** Other than the pass-through source, which leaves by lo as well. */
function overLo({ match }: Rule): boolean {
  return match.some((text, i) => text === "lo" && /^-[io]$/.test(match[i - 1] ?? "")) && !match.includes("-s");
}

/** What keeps out whoever is in none of the listed groups; where none is listed, everybody. */
function inNoGroup({ match }: Rule): boolean {
  return match.length === 0 || match.some((text, i) => text === "--gid-owner" && match[i - 1] === "!");
}

function ofTransport({ transport }: Question): Fits {
  return ({ match }) => {
    const at = match.indexOf("-p");
    return at < 0 || match[at + 1] === transport;
  };
}

function word(wanted: string): Fits {
  return ({ match }) => match.includes(wanted);
}

/** Neighbouring words of the match, of which the first is not negated. */
function words(option: string, value: string): Fits {
  return ({ match }) => match.some((text, i) => text === value && match[i - 1] === option && match[i - 2] !== "!");
}

function listsPort(port: number): Fits {
  return ({ match }) =>
    match.some((text, i) => /^--dports?$/.test(match[i - 1] ?? "") && text.split(",").includes(String(port)));
}

function all(...parts: Fits[]): Fits {
  return (rule) => parts.every((part) => part(rule));
}

function either(...parts: Fits[]): Fits {
  return (rule) => parts.some((part) => part(rule));
}
