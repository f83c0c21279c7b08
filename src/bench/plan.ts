// SPDX-License-Identifier: Apache-2.0
/** Which routes are compared under which loads, and for how long. */
import {
  CLIENTS,
  type Load,
  loadName,
  type PathName,
  type ProxyName,
  type Route,
  routeName,
  TOPOLOGIES,
  type Topology,
} from "./scenario.ts";

/** Routes that take turns: the first one is direct, and the ratios of the others are to it. */
export interface Group {
  readonly routes: readonly Route[];
  readonly loads: readonly Load[];
  /** Loads of a route that were not asked for are left out. */
  readonly includes: (route: Route, load: Load) => boolean;
}

export interface Plan {
  readonly groups: readonly Group[];
  readonly rounds: { readonly least: number; readonly most: number };
  /** No round begins that would end later than this after the start, once there are enough; those before get shorter. */
  readonly budgetSeconds: number;
  /** Of one measurement. */
  readonly seconds: Readonly<Record<Load["test"], number>>;
}

export const BULK_WRITE = 65_536;
const SMALL = 100;

function routeOf(topology: Topology, path: PathName, proxies: 0 | 1 | 2, proxy: ProxyName | null): Route {
  return { topology, path, proxies, proxy };
}

const direct = (topology: Topology): Route => routeOf(topology, "direct", 0, null);

function loadsOf(sizes: readonly number[], counts: readonly number[], bulkCounts: readonly number[]): Load[] {
  return CLIENTS.flatMap((client) => [
    ...sizes.flatMap((bytes) => counts.map((connections): Load => ({ client, test: "latency", connections, bytes }))),
    ...bulkCounts.map((connections): Load => ({ client, test: "bulk", connections, bytes: BULK_WRITE })),
    { client, test: "connect", connections: 16, bytes: SMALL },
  ]);
}

/** Loopback, two proxies, ours, and HAProxy with iptables; under two minutes. */
export function quickPlan(): Plan {
  const ours = (["iptables", "ebpf", "ebpf-accelerated", "ebpf-spliced"] as const).map((path) =>
    routeOf("loopback", path, 2, "shunt"),
  );
  const routes = [direct("loopback"), ...ours, routeOf("loopback", "iptables", 2, "haproxy")];
  return {
    groups: [{ routes, loads: loadsOf([SMALL], [1, 16], [1]), includes: () => true }],
    rounds: { least: 3, most: 5 },
    budgetSeconds: 95,
    seconds: { latency: 0.5, bulk: 0.3, connect: 0.3 },
  };
}

/** Everything, about an hour and a half. */
export function fullPlan(): Plan {
  const loads = loadsOf([SMALL, 1024, 16_384], [1, 16, 64], [1, 16]);
  const groups = TOPOLOGIES.flatMap((topology) =>
    ([1, 2] as const).map((proxies): Group => {
      const ours = (["iptables", "tproxy", "nftables", "ebpf", "ebpf-accelerated", "ebpf-spliced"] as const).map(
        (path) => routeOf(topology, path, proxies, "shunt"),
      );
      const others = (["haproxy", "nginx", "envoy"] as const).flatMap((proxy) =>
        (["iptables", "ebpf"] as const).map((path) => routeOf(topology, path, proxies, proxy)),
      );
      return { routes: [direct(topology), ...ours, ...others], loads, includes: () => true };
    }),
  );
  return {
    groups,
    rounds: { least: 5, most: 5 },
    budgetSeconds: Number.POSITIVE_INFINITY,
    seconds: { latency: 0.8, bulk: 0.6, connect: 0.5 },
  };
}

/** What a pattern is matched with. */
export function caseName(route: Route, load: Load): string {
  return `${routeName(route)}/${loadName(load)}`;
}

/** The part of a plan whose names fit, and direct under the same loads. */
export function narrowPlan(plan: Plan, pattern: RegExp): Plan {
  const groups = plan.groups.flatMap(({ routes, loads, includes }): Group[] => {
    const asked = (route: Route, load: Load): boolean => includes(route, load) && pattern.test(caseName(route, load));
    const someRoute = (load: Load): boolean => routes.some((route) => asked(route, load));
    const fits = (route: Route, load: Load): boolean =>
      route.path === "direct" ? someRoute(load) : asked(route, load);
    const kept = {
      routes: routes.filter((route) => loads.some((load) => fits(route, load))),
      loads: loads.filter(someRoute),
      includes: fits,
    };
    return kept.loads.length === 0 ? [] : [kept];
  });
  return { ...plan, groups: withoutBareDirect(groups) };
}

/** A pattern that fits direct fits it in every group of its topology; once is enough. */
function withoutBareDirect(groups: readonly Group[]): readonly Group[] {
  const compared = groups.filter(({ routes }) => routes.length > 1);
  return compared.length > 0 ? compared : groups.slice(0, 1);
}

/** Shorter measurements tell too little. */
const LEAST_PACE = 0.4;

/**
 * How long the measurements of the next round are, as a part of what is planned; undefined when there is to be none.
 * @param done rounds so far
 * @param roundSeconds that one takes
 * @param elapsedSeconds since the start
 */
export function paceOf(plan: Plan, done: number, roundSeconds: number, elapsedSeconds: number): number | undefined {
  const { least, most } = plan.rounds;
  const left = plan.budgetSeconds - elapsedSeconds;
  if (done >= least) return done < most && roundSeconds < left ? 1 : undefined;
  const needed = (least - done) * roundSeconds;
  return needed <= left ? 1 : Math.max(LEAST_PACE, left / needed);
}
