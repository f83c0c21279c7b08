// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { byPreference } from "../../../../src/intercept/iptables/choose-flavour.ts";
import type { FlavourRules } from "../../../../src/intercept/iptables/namespace-rules.ts";
import { emptyRules, parseSave } from "../../../../src/intercept/iptables/rule-state.ts";
import type { Flavour } from "../../../../src/intercept/iptables/tools.ts";

const OURS = parseSave(
  '*nat\n:SHUNT_OUTPUT - [0:0]\n-A SHUNT_OUTPUT -m comment --comment "shunt:web" -j RETURN\nCOMMIT\n',
);

function holding(flavour: Flavour, { inUse = false, ours = false, v6 = true } = {}): FlavourRules {
  const family = { tools: { save: "", restore: "" }, own: ours ? OURS : emptyRules() };
  const tools = { flavour, 4: family.tools, 6: v6 ? family.tools : undefined };
  return {
    tools,
    inUse: inUse || ours,
    families: new Map(
      v6
        ? [
            [4, family],
            [6, family],
          ]
        : [[4, family]],
    ),
  };
}

const order = (found: FlavourRules[], facts = {}) => byPreference(found, facts).map(({ tools }) => tools.flavour);

describe("the order in which flavours are tried", () => {
  it("begins where the workload has rules, then where anybody has, then with the default", () => {
    expect(order([holding("nft"), holding("legacy")])).toEqual(["nft", "legacy"]);
    expect(order([holding("nft"), holding("legacy", { inUse: true })])).toEqual(["legacy", "nft"]);
    expect(order([holding("nft", { inUse: true }), holding("legacy", { inUse: true })])).toEqual(["nft", "legacy"]);
    const ours = [holding("nft", { inUse: true }), holding("legacy", { ours: true })];
    expect(order(ours, { name: "web" })).toEqual(["legacy", "nft"]);
    expect(order(ours, { name: "other" })).toEqual(["nft", "legacy"]);
  });

  it("ends with those that can't do IPv6 where there is IPv6", () => {
    const found = [holding("nft", { v6: false, ours: true }), holding("legacy")];
    expect(order(found, { name: "web", ipv6: true })).toEqual(["legacy", "nft"]);
    expect(order(found, { name: "web", ipv6: false })).toEqual(["nft", "legacy"]);
  });

  it("has nothing but what was asked for", () => {
    expect(order([holding("nft"), holding("legacy")], { only: "legacy" })).toEqual(["legacy"]);
  });
});
