// SPDX-License-Identifier: Apache-2.0
/** What earlier versions, other flavours and other interceptors have left in a namespace. */
import { ExecError } from "../../util/exec.ts";
import { byPreference, namesIn } from "./choose-flavour.ts";
import { chainOwner, type Interceptor, ipRuleOwner, nftTableOwner, ruleOwner } from "./foreign-rules.ts";
import { type FlavourRules, readNamespace } from "./namespace-rules.ts";
import { CHAIN_PREFIX, isDispatchChain, ownerOf, shortId } from "./naming.ts";
import { withNetnsLock } from "./netns-lock.ts";
import { execIn, type FamilyTools, installedTools, restore, save } from "./tools.ts";
import { needsRouting } from "./tproxy-use.ts";

export interface Leftover {
  readonly who: Interceptor;
  /** Chain, rule, table or ip rule, in the words of the program that lists it. */
  readonly what: string;
  readonly kind: "chain" | "rule" | "nft table" | "ip rule";
  /** Program that lists it: "iptables-legacy-save", "ip -6 rule", "nft list tables". */
  readonly where: string;
  readonly table: string;
}

/** How one is removed: as a part of a transaction on its table, or by a program of its own. */
interface Found extends Leftover {
  readonly tools?: FamilyTools;
  /** Chain name or "-A" line. */
  readonly subject: string;
  readonly commands: readonly (readonly [program: string, ...args: string[]])[];
}

export interface LeftoverOptions {
  /** Workloads that are in force: their rules are none, in the flavour where they should be. */
  readonly live?: readonly string[];
  readonly signal?: AbortSignal;
}

/** Lists, and changes nothing. Without `live`, every workload with rules in one flavour counts as in force there. */
export async function leftovers(netnsPath: string, options: LeftoverOptions = {}): Promise<readonly Leftover[]> {
  return (await find(netnsPath, options)).map(told);
}

/** Removes what `which` says of what `leftovers` lists, each table in one transaction, and returns it. */
export async function removeLeftovers(
  netnsPath: string,
  which: (leftover: Leftover) => boolean,
  options: LeftoverOptions = {},
): Promise<readonly Leftover[]> {
  const { signal } = options;
  return withNetnsLock(
    netnsPath,
    async () => {
      const chosen = (await find(netnsPath, options)).filter(which);
      const tables = new Set(chosen.flatMap(({ tools, table }) => (tools ? [`${tools.save} ${table}`] : [])));
      for (const key of tables) {
        const same = chosen.filter(({ tools, table }) => tools && `${tools.save} ${table}` === key);
        const { tools, table = "" } = same[0] ?? {};
        if (tools) await restore({ netnsPath }, tools, removal(table, same), signal);
      }
      for (const [program, ...args] of chosen.flatMap(({ commands }) => commands)) {
        await execIn({ netnsPath }, program, args, { signal });
      }
      return chosen.map(told);
    },
    signal,
  );
}

function told({ who, what, kind, where, table }: Found): Leftover {
  return { who, what, kind, where, table };
}

function removal(table: string, of: readonly Found[]): string {
  const chains = of.filter(({ kind }) => kind === "chain").map(({ subject }) => subject);
  const rules = of.filter(({ kind }) => kind === "rule").map(({ subject }) => subject);
  const lines = [
    ...chains.map((chain) => `:${chain} - [0:0]`),
    ...rules.map((line) => line.replace(/^-A /, "-D ")),
    ...chains.map((chain) => `-X ${chain}`),
  ];
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}

async function find(netnsPath: string, { live, signal }: LeftoverOptions): Promise<Found[]> {
  const found = await readNamespace(netnsPath, await installedTools(signal), signal);
  const inForce = (flavour: FlavourRules): readonly string[] =>
    namesIn([flavour]).filter(
      (name) => (live === undefined || live.includes(name)) && byPreference(found, { name })[0] === flavour,
    );
  const rules: Found[] = [];
  for (const flavour of found) {
    for (const { tools } of flavour.families.values()) {
      const text = await save({ netnsPath }, tools, signal);
      rules.push(...tablesIn(text).flatMap(([table, lines]) => rulesLeft(tools, table, lines, inForce(flavour))));
    }
  }
  return [...rules, ...(await ipRulesLeft(netnsPath, found, signal)), ...(await nftTablesLeft(netnsPath, signal))];
}

function rulesLeft(tools: FamilyTools, table: string, lines: readonly string[], inForce: readonly string[]): Found[] {
  const rulesOf = (chain: string): string[] => lines.filter((line) => line.startsWith(`-A ${chain} `));
  const isLive = (chain: string): boolean =>
    isDispatchChain(chain)
      ? rulesOf(chain).some((line) => inForce.includes(ownerOf(line) ?? ""))
      : inForce.some((name) => chain.startsWith(`${CHAIN_PREFIX}${shortId(name)}_`));
  const chains = lines.flatMap((line) => {
    const chain = /^:(\S+)/.exec(line)?.[1] ?? "";
    const who = chainOwner(chain);
    return who && !isLive(chain) ? [{ chain, who }] : [];
  });
  const isGone = (name: string): boolean => chains.some(({ chain }) => chain === name);
  const common = { where: tools.save, table, tools, commands: [] };
  const rules = lines.flatMap((line) => {
    const [verb, chain = ""] = line.split(" ", 2);
    const target = / -[jg] (\S+)/.exec(line)?.[1] ?? "";
    const who = ruleOwner(table, line);
    const leadsOn = chainOwner(target) !== undefined && !isGone(target);
    if (verb !== "-A" || !who || isGone(chain) || leadsOn) return [];
    return [{ ...common, who, what: line, subject: line, kind: "rule" as const }];
  });
  return [
    ...rules,
    ...chains.map(({ chain, who }) => ({
      ...common,
      who,
      what: `${chain}, ${rulesOf(chain).length} rules`,
      subject: chain,
      kind: "chain" as const,
    })),
  ];
}

async function ipRulesLeft(netnsPath: string, found: readonly FlavourRules[], signal?: AbortSignal): Promise<Found[]> {
  const left: Found[] = [];
  for (const flag of ["-4", "-6"]) {
    for (const line of (await ask(netnsPath, "ip", ["-N", flag, "rule", "show"], signal)).split("\n")) {
      const what = line.trim();
      const who = ipRuleOwner(what);
      if (!who || (who === "shunt" && needsRouting(found))) continue;
      const table = what.split(" ").at(-1) ?? "";
      const pref = what.slice(0, what.indexOf(":"));
      const commands = [
        ["ip", flag, "rule", "del", "pref", pref],
        ["ip", flag, "route", "flush", "table", table],
      ] as const;
      left.push({ who, what, subject: what, kind: "ip rule", where: `ip ${flag} rule`, table, commands });
    }
  }
  return left;
}

async function nftTablesLeft(netnsPath: string, signal?: AbortSignal): Promise<Found[]> {
  const listed = await ask(netnsPath, "nft", ["list", "tables"], signal);
  return listed.split("\n").flatMap((line) => {
    const what = line.trim();
    const [, family = "", table = ""] = /^table (\S+) (\S+)$/.exec(what) ?? [];
    const who = nftTableOwner(table);
    // Ours belong to the nftables back-end, which knows which are in force.
    if (!who || who === "shunt") return [];
    const commands = [["nft", "delete", "table", family, table] as const];
    return [{ who, what, subject: what, kind: "nft table" as const, where: "nft list tables", table, commands }];
  });
}

/** What a program lists; nothing where it is not installed, or its family is not in the kernel. */
async function ask(netnsPath: string, program: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  try {
    return (await execIn({ netnsPath }, program, args, { signal })).stdout;
  } catch (error) {
    if (error instanceof ExecError && error.code === "ERR_EXEC_FAILED") return "";
    throw error;
  }
}

/** Lines of each table of iptables-save, but for its own. */
function tablesIn(text: string): [table: string, lines: string[]][] {
  return text
    .split(/^\*/m)
    .slice(1)
    .map((table) => {
      const [name = "", ...lines] = table.split("\n").map((line) => line.trim());
      return [name, lines.filter((line) => /^(:|-A )/.test(line))];
    });
}
