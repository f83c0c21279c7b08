// SPDX-License-Identifier: Apache-2.0
/** Whether TPROXY can be used here, tried in a fresh network namespace: the rules' matches, and the routing. */
import type { ProbeAnswer } from "../backend.ts";
import { routeWords, ruleWords, TPROXY_ROUTE } from "../iptables/policy-routing.ts";
import { type IptablesProbe, probe as probeRules } from "../iptables/probe.ts";
import { execIn } from "../iptables/tools.ts";

export interface TproxyProbe extends IptablesProbe {
  readonly routing: ProbeAnswer;
}

/** Examines this machine and, when a path is given, one namespace of it. */
export async function probe(netnsPath?: string, signal?: AbortSignal): Promise<TproxyProbe> {
  const rules = await probeRules(netnsPath, signal);
  const routing = await probeRouting(signal);
  const missing = [rules, rules.tproxy, routing].find(({ ok }) => !ok);
  const verdict = missing ? { ok: false, reason: missing.reason ?? "TPROXY does not work" } : { ok: true };
  return { ...rules, ...verdict, routing };
}

async function probeRouting(signal?: AbortSignal): Promise<ProbeAnswer> {
  const script = [
    "ip link set lo up",
    `ip -N -4 route replace ${routeWords(TPROXY_ROUTE).join(" ")}`,
    `ip -N -4 rule add ${ruleWords(TPROXY_ROUTE).join(" ")}`,
  ].join(" && ");
  try {
    await execIn("scratch", "sh", ["-c", script], { signal });
    return { ok: true };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { ok: false, reason: `policy routing: ${(error as Error).message}` };
  }
}
