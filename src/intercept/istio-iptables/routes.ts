// SPDX-License-Identifier: Apache-2.0
/** Policy routing and addresses next to the rules. Nothing is ever added a second time. */
import { constants } from "node:os";
import { loadAddon } from "../../native/load-addon.ts";
import { errnoName } from "../../native/status.ts";
import { ExecError } from "../../util/exec.ts";
import type { LocalAddress, LocalRoute, PolicyRule, RoutePlan } from "../istio/policy-routes.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";
import { refusal, type TargetNamespace } from "./target.ts";

const ALL_BITS = 0xffff_ffff;

/** Adds what is missing. Returns what was added, in words; on a throw nothing of it stays. */
export async function ensureRoutes(target: TargetNamespace, plan: RoutePlan): Promise<string[]> {
  const done: { what: string; undo: () => unknown }[] = [];
  try {
    for (const address of plan.addresses) {
      if (!changeAddress(target, address, true)) continue;
      done.push({ what: `address ${address.address}`, undo: () => changeAddress(target, address, false) });
    }
    for (const route of plan.routes) {
      if (!(await addRoute(target, route))) continue;
      done.push({ what: `IPv${route.family} route, table ${route.table}`, undo: () => deleteRoute(target, route) });
    }
    // Last: with the rule but without the route, marked packets would go nowhere.
    for (const rule of plan.rules) {
      if (await hasRule(target, rule)) continue;
      await ip(target, rule.family, ["rule", "add", ...ruleWords(rule)]);
      done.push({ what: `IPv${rule.family} rule, table ${rule.table}`, undo: () => deleteRule(target, rule) });
    }
  } catch (error) {
    target.ignoreSignal();
    for (const { undo } of done.reverse()) await undo();
    throw error;
  }
  return done.map(({ what }) => what);
}

/** Takes away rules and routes, the copies of a rule too that other programs added. Addresses stay: others may use them. */
export async function removeRoutes(
  target: TargetNamespace,
  plan: Pick<RoutePlan, "rules" | "routes">,
): Promise<string[]> {
  const removed: string[] = [];
  for (const rule of plan.rules) {
    while (await hasRule(target, rule)) {
      await deleteRule(target, rule);
      removed.push(`IPv${rule.family} rule, table ${rule.table}`);
    }
  }
  for (const route of plan.routes) {
    if (await deleteRoute(target, route)) removed.push(`IPv${route.family} route, table ${route.table}`);
  }
  return removed;
}

function changeAddress(
  target: TargetNamespace,
  { address, prefixLength, device }: LocalAddress,
  add: boolean,
): boolean {
  const status = loadAddon().changeAddress(target.fd, add, device, address, prefixLength);
  if (status >= 0) return true;
  if (status === -(add ? constants.errno.EEXIST : constants.errno.EADDRNOTAVAIL)) return false;
  throw new IstioIptablesError(
    "ERR_ISTIO_REFUSED",
    `address ${address}/${prefixLength} on ${device} could not be ${add ? "added" : "removed"}: ${errnoName(status)}`,
  );
}

async function addRoute(target: TargetNamespace, route: LocalRoute): Promise<boolean> {
  return tolerate(/File exists/, () => ip(target, route.family, ["route", "add", ...routeWords(route)]));
}

async function deleteRoute(target: TargetNamespace, route: LocalRoute): Promise<boolean> {
  return tolerate(/No such process|No such file|does not exist/, () =>
    ip(target, route.family, ["route", "del", ...routeWords(route)]),
  );
}

/** False when the refusal says that there is nothing to do. */
async function tolerate(harmless: RegExp, action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (error instanceof Error && error.cause instanceof ExecError && harmless.test(error.cause.stderr)) return false;
    throw error;
  }
}

function routeWords({ destination, device, table }: LocalRoute): string[] {
  return ["local", destination, "dev", device, "table", String(table)];
}

function ruleWords({ mark, mask, priority, table }: PolicyRule): string[] {
  const fwmark = mask === undefined ? String(mark) : `${mark}/${mask}`;
  return ["fwmark", fwmark, ...(priority === undefined ? [] : ["pref", String(priority)]), "lookup", String(table)];
}

async function deleteRule(target: TargetNamespace, rule: PolicyRule): Promise<void> {
  await ip(target, rule.family, ["rule", "del", ...ruleWords(rule)]);
}

async function hasRule(target: TargetNamespace, rule: PolicyRule): Promise<boolean> {
  const { stdout } = await listRules(target, rule.family);
  return stdout.split("\n").some((line) => isRule(line, rule));
}

/** With -N tables come as numbers, not by the names of /etc/iproute2/rt_tables; busybox has neither. */
async function listRules(target: TargetNamespace, family: 4 | 6): Promise<{ stdout: string }> {
  try {
    return await target.run("ip", ["-N", `-${family}`, "rule", "show"]);
  } catch {
    try {
      return await ip(target, family, ["rule", "show"]);
    } catch (error) {
      // A kernel without IPv6 has no rules of it.
      if (family === 6 && error instanceof Error && /not supported/.test(String(error.cause))) return { stdout: "" };
      throw error;
    }
  }
}

/** A line of `ip rule show`: "32765:	from all fwmark 0x539 lookup 133". One with further conditions is another rule. */
export function isRule(line: string, rule: PolicyRule): boolean {
  const found = /^(\d+):\s+from all fwmark (0x[\da-f]+|\d+)(?:\/(0x[\da-f]+|\d+))? lookup (\S+)\s*$/.exec(line);
  if (found === null) return false;
  const [, priority, mark, mask, table] = found;
  return (
    Number(mark) === rule.mark &&
    (mask === undefined ? ALL_BITS : Number(mask)) === (rule.mask ?? ALL_BITS) &&
    table === String(rule.table) &&
    (rule.priority === undefined || Number(priority) === rule.priority)
  );
}

async function ip(target: TargetNamespace, family: 4 | 6, args: readonly string[]): Promise<{ stdout: string }> {
  try {
    return await target.run("ip", [`-${family}`, ...args]);
  } catch (error) {
    throw refusal("policy routing", error);
  }
}
