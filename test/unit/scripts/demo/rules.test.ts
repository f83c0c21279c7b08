// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { countRules } from "../../../../scripts/demo/rules.ts";

describe("counting rules in the output of the tools", () => {
  it("counts what iptables-save appends, not its tables and chains", () => {
    expect(
      countRules("*nat\n:OUTPUT ACCEPT [0:0]\n:MINE - [0:0]\n-A OUTPUT -j MINE\n-A MINE -j RETURN\nCOMMIT\n"),
    ).toBe(2);
    expect(countRules("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n")).toBe(0);
  });

  it("counts the statements in nftables' chains, not their hooks", () => {
    const chain =
      "\tchain OUTPUT {\n\t\ttype nat hook output priority -100; policy accept;\n\t\t counter jump MINE\n\t}\n";
    expect(countRules(`table ip nat {\n${chain}}\n`)).toBe(1);
    expect(countRules("")).toBe(0);
  });
});
