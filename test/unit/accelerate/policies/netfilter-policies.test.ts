// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { hasLegacyTables, legacyPolicies } from "../../../../src/accelerate/policies/netfilter-policies.ts";

const OWN = { table: "shunt", chainPrefix: "SHUNT_" };

const saved = (...lines: string[]): string => ["# Generated", ...lines, "COMMIT", ""].join("\n");

describe("tables from before nf_tables", () => {
  it("are of interest where they can drop", () => {
    expect(hasLegacyTables("nat\n")).toBe(false);
    expect(hasLegacyTables("")).toBe(false);
    expect(hasLegacyTables("nat\nfilter\n")).toBe(true);
  });

  it("without rules are no policy", () => {
    const text = saved("*filter", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [5:260]", ":mine - [0:0]");
    expect(legacyPolicies(text, "ip", OWN)).toEqual([]);
  });

  it("are one with a rule, or with a chain that drops what no rule takes", () => {
    const text = saved(
      "*mangle",
      ":INPUT DROP [0:0]",
      ":OUTPUT ACCEPT [0:0]",
      "-A OUTPUT -p tcp -j DROP",
      "-A OUTPUT -j LOG",
    );
    expect(legacyPolicies(text, "ip6", OWN)).toEqual([
      { kind: "netfilter", where: "table ip6 mangle (legacy), chain INPUT" },
      { kind: "netfilter", where: "table ip6 mangle (legacy), chain OUTPUT" },
    ]);
  });

  it("are none by what translates addresses, nor by our own rules", () => {
    const text = [
      saved("*nat", ":OUTPUT ACCEPT [0:0]", "-A OUTPUT -p tcp -j REDIRECT --to-ports 15001"),
      saved(
        "*mangle",
        ":PREROUTING ACCEPT [0:0]",
        ":SHUNT_IN - [0:0]",
        "-A PREROUTING -j SHUNT_IN",
        "-A SHUNT_IN -j MARK",
      ),
    ].join("");
    expect(legacyPolicies(text, "ip", OWN)).toEqual([]);
  });
});
