// SPDX-License-Identifier: Apache-2.0
/** What of a plan is not possible here: asked, not assumed. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ForeignProxy, type FoundProxies, findProxies } from "./find-proxies.ts";
import { whyNot } from "./foreign-hops.ts";
import type { Plan } from "./plan.ts";
import type { Processes } from "./processes.ts";
import type { Lacking } from "./report.ts";
import { type PathName, type Route, routeName } from "./scenario.ts";
import { steering } from "./shunt-hops.ts";
import { SHUNT } from "./tools.ts";

export interface Possible {
  readonly plan: Plan;
  readonly proxies: FoundProxies;
  readonly lacking: readonly Lacking[];
}

/** The part of a plan that can be done here, and what is said of the rest. */
export async function possiblePart(processes: Processes, plan: Plan, folder: string): Promise<Possible> {
  const routes = plan.groups.flatMap((group) => group.routes);
  const foreign = [...new Set(routes.map(({ proxy }) => proxy))].filter(isForeign);
  const { found, lacking } = await findProxies(processes, foreign);
  const refused = new Map<PathName, string>();
  for (const path of new Set(routes.filter(isAccelerated).map((route) => route.path))) {
    const why = await whyNoAcceleration(processes, path, folder);
    if (why !== undefined) refused.set(path, why);
  }
  const more: Lacking[] = [...refused].map(([what, why]) => ({ what, why }));
  const possible = (route: Route): boolean => {
    if (isForeign(route.proxy) && !found.has(route.proxy)) return false;
    if (refused.has(route.path)) return false;
    const why = whyNotAtAll(route);
    if (why !== undefined) more.push({ what: routeName(route), why });
    return why === undefined;
  };
  const groups = plan.groups.map((group) => ({ ...group, routes: group.routes.filter(possible) }));
  return { plan: { ...plan, groups }, proxies: found, lacking: [...lacking, ...more] };
}

function isForeign(proxy: Route["proxy"]): proxy is ForeignProxy {
  return proxy !== null && proxy !== "shunt";
}

function isAccelerated({ path }: Route): boolean {
  return path === "ebpf-accelerated" || path === "ebpf-spliced";
}

function whyNotAtAll(route: Route): string | undefined {
  if (route.path === "tproxy" && route.topology === "loopback")
    return "TPROXY hands over what arrives from outside, and on loopback nothing does";
  return whyNot(route);
}

/** Undefined when this build knows the path; whether it takes it here is asked of the agent that is to do it. */
async function whyNoAcceleration(processes: Processes, path: PathName, folder: string): Promise<string | undefined> {
  const file = join(folder, `${path}.yaml`);
  writeFileSync(file, JSON.stringify({ ...steering({ path }), workloads: [] }));
  const { status, stderr } = await processes.run([...SHUNT, "run", "--config", file, "--check"]);
  // "FILE:LINE: FIELD: …", of which the first two help nobody.
  const problem = stderr
    .trim()
    .split("\n")[0]
    ?.replace(/^.*?:\d+: /, "");
  return status === 0 ? undefined : `this build cannot do it: ${problem}`;
}
