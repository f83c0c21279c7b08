// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { plan } from "../../../../src/intercept/nftables/plan.ts";
import { render } from "../../../../src/intercept/nftables/render.ts";
import { parseListing, type TableState, workloadsIn } from "../../../../src/intercept/nftables/table-state.ts";
import { renderTransition } from "../../../../src/intercept/nftables/transition.ts";
import { driftOf } from "../../../../src/intercept/nftables/verify.ts";
import { anOutbound, aSpec } from "../iptables/iptables-specs.ts";

const web = plan(aSpec({ outbound: anOutbound() }));

type Listed = readonly [chain: string, handle: number, comment: string | undefined, target?: string];

/** A listing of nft 1.0.6 with these rules; a chain with a hyphenated hook is a base chain. */
function listing(rules: readonly Listed[], priority = -101): TableState {
  const chains = [...new Set(rules.map(([chain]) => chain))];
  const base = { type: "nat", hook: "output", prio: priority, policy: "accept" };
  return parseListing(
    JSON.stringify({
      nftables: [
        { metainfo: { version: "1.0.6" } },
        { table: { family: "inet", name: "shunt" } },
        ...chains.map((name) => ({ chain: { name, ...(name.startsWith("w") ? {} : base) } })),
        ...rules.map(([chain, handle, comment, target]) => ({
          rule: { chain, handle, comment, expr: [target === undefined ? { return: null } : { goto: { target } }] },
        })),
      ],
    }),
  );
}

const others: Listed[] = [
  ["waaaaaaaa-out", 2, "shunt:deep"],
  ["wbbbbbbbb-out", 3, "shunt:whole"],
  ["nat-output", 7, "shunt:deep level 3", "waaaaaaaa-out"],
  ["nat-output", 9, "shunt:whole netns", "wbbbbbbbb-out"],
];

const inCgroup = (path: string) =>
  plan(
    aSpec({
      target: { kind: "cgroup", path: `/sys/fs/cgroup/${path}`, netnsPath: "/proc/self/ns/net" },
      outbound: anOutbound(),
    }),
    { cgroup2: { mountPoint: "/sys/fs/cgroup", root: "/" } },
  );

describe("the way from one table to the next", () => {
  it("is the whole script where there is none", () => {
    expect(renderTransition(undefined, "web", web)).toBe(render(web));
    expect(renderTransition(undefined, "web")).toBe("");
  });

  it("puts a cgroup before those around it and after those in it", () => {
    const dispatchLine = (path: string): string | undefined =>
      renderTransition(listing(others), "web", inCgroup(path))
        .split("\n")
        .find((line) => line.includes("rule inet shunt nat-output"));
    expect(dispatchLine("a/b/c/d")).toMatch(/^insert rule inet shunt nat-output handle 7 socket cgroupv2 level 4/);
    expect(dispatchLine("a")).toMatch(/^insert rule inet shunt nat-output handle 9 socket cgroupv2 level 1/);
  });

  it("names nothing of other workloads but their place", () => {
    const own: Listed[] = [
      ["w4b5e57f6-out", 20, "shunt:web"],
      ["nat-output", 21, "shunt:web netns", "w4b5e57f6-out"],
    ];
    const text = renderTransition(listing([...others, ...own]), "web");
    expect(text).toBe(
      [
        "delete rule inet shunt nat-output handle 21",
        "flush chain inet shunt w4b5e57f6-out",
        "delete chain inet shunt w4b5e57f6-out\n",
      ].join("\n"),
    );
  });

  it("ends with the table when the last workload goes", () => {
    const own: Listed[] = [["w4b5e57f6-out", 20, "shunt:web"]];
    expect(renderTransition(listing(own), "web")).toBe("delete table inet shunt\n");
  });

  it("takes along what is nobody's", () => {
    const text = renderTransition(
      listing([...others, ["nat-output", 30, undefined], ["nat-output", 31, "shunt:deep"]]),
      "web",
      web,
    );
    expect(text).toContain("delete rule inet shunt nat-output handle 30\n");
    expect(text, "without a place").toContain("delete rule inet shunt nat-output handle 31\n");
    expect(text).not.toContain("handle 7");
  });

  it("begins anew where base chains are another version's, unless others need them", () => {
    const own: Listed[] = [["nat-output", 21, "shunt:web netns"]];
    expect(renderTransition(listing(own, -100), "web", web)).toBe(`delete table inet shunt\n${render(web)}`);
    expect(() => renderTransition(listing(others, -100), "web", web)).toThrow(/has rules of deep, whole/);
  });
});

describe("a listing", () => {
  it("tells whose rules are there", () => {
    expect(workloadsIn(listing([...others, ["x", 1, "somebody's"]]))).toEqual(["deep", "whole"]);
  });

  it("differs from another by order in its chains, not in its sets", () => {
    const state = (elements: readonly string[]): TableState =>
      parseListing(
        JSON.stringify({
          nftables: [
            { set: { name: "w4b5e57f6-s", type: "ipv4_addr", flags: ["interval"], elem: elements, handle: 4 } },
          ],
        }),
      );
    expect(driftOf("web", state(["10.0.0.1", "10.0.0.2"]), state(["10.0.0.2", "10.0.0.1"]))).toEqual([]);
    expect(driftOf("web", state(["10.0.0.1"]), state(["10.0.0.2"]))).toMatchObject([
      { table: "inet shunt", chain: "w4b5e57f6-s", kind: "changed" },
    ]);
    const rules = (first: string, second: string) =>
      listing([
        ["w4b5e57f6-out", 1, first],
        ["w4b5e57f6-out", 2, second],
      ]);
    expect(driftOf("web", rules("shunt:a", "shunt:b"), rules("shunt:b", "shunt:a"))).toMatchObject([
      { kind: "changed" },
    ]);
    expect(driftOf("web", rules("shunt:a", "shunt:b"), undefined)).toMatchObject([{ kind: "missing", actual: [] }]);
  });
});
