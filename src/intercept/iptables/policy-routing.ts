// SPDX-License-Identifier: Apache-2.0
/**
 * "What has this mark is for this namespace, whatever its address": one ip rule and one local route in a table of
 * their own, for each family. Shared by every workload of the namespace that needs it.
 */
import { ExecError } from "../../util/exec.ts";
import type { Drift } from "../backend.ts";
import { IptablesError } from "./iptables-error.ts";
import { markWord } from "./own-traffic.ts";
import type { Family } from "./rule.ts";
import { execIn, type Where } from "./tools.ts";

export interface MarkRoute {
  readonly mark: number;
  readonly mask: number;
  readonly table: number;
}

/**
 * For TPROXY. The lower twelve bits are neither 0x539 (a proxy of ours, or of Istio's ambient mode) nor 0x111
 * (ambient's answers); the mark is neither 1337 nor 1338 and the table not 133 (istio-iptables), nor any of
 * preserveSource.
 */
export const TPROXY_ROUTE: MarkRoute = { mark: 0x253a, mask: 0x3fff, table: 0x253a };

/** A namespace without IPv6 has no lo to lead a route of IPv6 to. */
export function routedFamilies(ipv6: boolean): readonly Family[] {
  return ipv6 ? [4, 6] : [4];
}

interface Found {
  /** Lines of `ip rule` that look into our table. */
  readonly rules: readonly string[];
  /** Lines of `ip route` in our table. */
  readonly routes: readonly string[];
}

/** The route first: a rule that leads into an empty table is passed over, and the packet goes elsewhere. */
export async function addRouting(
  netnsPath: string,
  route: MarkRoute,
  families: readonly Family[],
  signal?: AbortSignal,
): Promise<boolean> {
  const where = { netnsPath };
  let changed = false;
  for (const family of families) {
    const { rules, routes } = await read(where, family, route.table, signal);
    if (!routes.some(isLocalDefault)) {
      await ip(where, family, ["route", "replace", ...routeWords(route)], signal);
      changed = true;
    }
    const equal = rules.filter((line) => line.includes(` ${ruleText(route)}`));
    if (equal.length === 0) await ip(where, family, ["rule", "add", ...ruleWords(route)], signal);
    for (const _ of equal.slice(1)) await ip(where, family, ["rule", "del", ...ruleWords(route)], signal);
    changed ||= equal.length !== 1;
  }
  return changed;
}

/** Removes every rule and route of the table. Whether there were any; without the program `ip` there can be none. */
export async function removeRouting(netnsPath: string, route: MarkRoute, signal?: AbortSignal): Promise<boolean> {
  const where = { netnsPath };
  let removed = false;
  for (const family of [4, 6] as const) {
    const { rules, routes } = await readIfPossible(where, family, route.table, signal);
    for (const line of rules) await ip(where, family, ["rule", "del", "pref", prefOf(line)], signal);
    if (routes.length > 0) await ip(where, family, ["route", "flush", "table", String(route.table)], signal);
    removed ||= rules.length > 0 || routes.length > 0;
  }
  return removed;
}

/** How the namespace differs from what `addRouting` makes. */
export async function routingDrift(
  netnsPath: string,
  route: MarkRoute,
  families: readonly Family[],
  signal?: AbortSignal,
): Promise<Drift[]> {
  const drifts: Drift[] = [];
  for (const family of families) {
    const { rules, routes } = await readIfPossible({ netnsPath }, family, route.table, signal);
    const found = { "ip rule": rules.map((line) => line.replace(/^\d+:\s*/, "")), "ip route": routes };
    const expected = { "ip rule": [`from all ${ruleText(route)}`], "ip route": ["local default dev lo"] } as const;
    for (const kind of ["ip rule", "ip route"] as const) {
      const actual = found[kind];
      if (actual.length === 1 && actual[0]?.startsWith(expected[kind][0])) continue;
      drifts.push({
        family,
        table: kind,
        chain: String(route.table),
        kind: actual.length === 0 ? "missing" : "changed",
        expected: expected[kind],
        actual,
      });
    }
  }
  return drifts;
}

export function ruleText({ mark, mask, table }: MarkRoute): string {
  return `fwmark ${markWord({ value: mark, mask })} lookup ${table}`;
}

export function ruleWords(route: MarkRoute): string[] {
  return ruleText(route).split(" ");
}

export function routeWords({ table }: MarkRoute): string[] {
  return ["local", "default", "dev", "lo", "table", String(table)];
}

function isLocalDefault(line: string): boolean {
  return line.startsWith("local default dev lo");
}

function prefOf(line: string): string {
  return line.slice(0, line.indexOf(":"));
}

async function read(where: Where, family: Family, table: number, signal?: AbortSignal): Promise<Found> {
  const rules = await ip(where, family, ["rule", "show"], signal);
  const routes = await ip(where, family, ["route", "show", "table", String(table)], signal);
  return {
    rules: linesOf(rules).filter((line) => line.endsWith(` lookup ${table}`)),
    routes: linesOf(routes),
  };
}

async function readIfPossible(where: Where, family: Family, table: number, signal?: AbortSignal): Promise<Found> {
  try {
    return await read(where, family, table, signal);
  } catch (error) {
    // nsenter says 127 when it finds no program; a kernel without the family has nothing of it.
    const { cause } = error as IptablesError;
    const impossible = cause instanceof ExecError && (cause.status === 127 || /not supported/i.test(cause.stderr));
    if (impossible) return { rules: [], routes: [] };
    throw error;
  }
}

function linesOf(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** `-N`: a table may have a name in /etc/iproute2/rt_tables. For routes it would turn their type into a number. */
async function ip(where: Where, family: Family, args: readonly string[], signal?: AbortSignal): Promise<string> {
  try {
    return (await execIn(where, "ip", [...(args[0] === "rule" ? ["-N"] : []), `-${family}`, ...args], { signal }))
      .stdout;
  } catch (error) {
    // A table nobody has put a route into.
    if (error instanceof ExecError && /table does not exist/.test(error.stderr)) return "";
    throw new IptablesError("ERR_IPTABLES_ROUTING", `policy routing: ${(error as Error).message}`, { cause: error });
  }
}
