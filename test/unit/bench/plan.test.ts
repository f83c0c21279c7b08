// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { caseName, fullPlan, narrowPlan, type Plan, paceOf, quickPlan } from "../../../src/bench/plan.ts";
import { loadName, routeName } from "../../../src/bench/scenario.ts";

const routesOf = (plan: Plan): string[] => plan.groups.flatMap(({ routes }) => routes.map(routeName));
const casesOf = (plan: Plan): string[] =>
  plan.groups.flatMap(({ routes, loads, includes }) =>
    loads.flatMap((load) => routes.filter((route) => includes(route, load)).map((route) => caseName(route, load))),
  );

describe("the quick plan", () => {
  it("compares these routes under these loads, three times at least", () => {
    const plan = quickPlan();
    expect(routesOf(plan)).toEqual([
      "loopback/direct/0",
      "loopback/iptables/2-shunt",
      "loopback/ebpf/2-shunt",
      "loopback/ebpf-accelerated/2-shunt",
      "loopback/ebpf-spliced/2-shunt",
      "loopback/iptables/2-haproxy",
    ]);
    expect(plan.groups[0]?.loads.map(loadName)).toEqual(
      ["polling", "blocking"].flatMap((client) => [
        `${client}/latency/c1/100B`,
        `${client}/latency/c16/100B`,
        `${client}/bulk/c1/65536B`,
        `${client}/connect/c16/100B`,
      ]),
    );
    expect(plan.rounds.least).toBeGreaterThanOrEqual(3);
  });

  it("measures for less than 90 s in its least rounds", () => {
    const { groups, rounds, seconds } = quickPlan();
    const perRound = groups.flatMap(({ routes, loads }) => loads.map(({ test }) => seconds[test] * routes.length));
    expect(perRound.reduce((sum, part) => sum + part, 0) * rounds.least).toBeLessThan(90);
  });
});

describe("the full plan", () => {
  it("has every path, topology and proxy, and direct first in every group", () => {
    const plan = fullPlan();
    const routes = plan.groups.flatMap((group) => group.routes);
    expect(new Set(routes.map(({ path }) => path)).size).toBe(7);
    expect(new Set(routes.map(({ proxy }) => proxy))).toEqual(new Set([null, "shunt", "haproxy", "nginx", "envoy"]));
    expect(new Set(routes.map(({ proxies }) => proxies))).toEqual(new Set([0, 1, 2]));
    expect(plan.groups.map((group) => group.routes[0]?.path)).toEqual(["direct", "direct", "direct", "direct"]);
    expect(new Set(plan.groups.map((group) => group.routes[0]?.topology))).toEqual(new Set(["loopback", "veth"]));
  });
});

describe("a pattern", () => {
  it("leaves what fits, and direct under the same loads", () => {
    expect(casesOf(narrowPlan(quickPlan(), /\/ebpf\/2-shunt\/polling\/latency\/c16/))).toEqual([
      "loopback/direct/0/polling/latency/c16/100B",
      "loopback/ebpf/2-shunt/polling/latency/c16/100B",
    ]);
  });

  it("takes loads of one route and not of another", () => {
    expect(casesOf(narrowPlan(quickPlan(), /ebpf\/.*polling\/bulk|haproxy\/blocking\/connect/))).toEqual([
      "loopback/direct/0/polling/bulk/c1/65536B",
      "loopback/ebpf/2-shunt/polling/bulk/c1/65536B",
      "loopback/direct/0/blocking/connect/c16/100B",
      "loopback/iptables/2-haproxy/blocking/connect/c16/100B",
    ]);
  });

  it("that fits direct alone measures it once", () => {
    expect(casesOf(narrowPlan(fullPlan(), /veth\/direct\/0\/polling\/bulk\/c1\//))).toEqual([
      "veth/direct/0/polling/bulk/c1/65536B",
    ]);
  });

  it("that fits nothing leaves nothing", () => {
    expect(narrowPlan(fullPlan(), /no such thing/).groups).toEqual([]);
  });
});

describe("the time", () => {
  const plan = { ...quickPlan(), budgetSeconds: 100, rounds: { least: 3, most: 5 } };

  it("is enough for more rounds than there must be while another one would end in it", () => {
    expect(paceOf(plan, 0, 0, 20)).toBe(1);
    expect(paceOf(plan, 3, 15, 80)).toBe(1);
    expect(paceOf(plan, 3, 25, 80)).toBeUndefined();
    expect(paceOf(plan, 5, 1, 20)).toBeUndefined();
  });

  it("makes rounds shorter that must be and would end late, but not so short that they tell nothing", () => {
    expect(paceOf(plan, 1, 30, 40)).toBe(1);
    expect(paceOf(plan, 1, 40, 60)).toBe(0.5);
    expect(paceOf(plan, 2, 90, 99)).toBe(0.4);
  });
});
