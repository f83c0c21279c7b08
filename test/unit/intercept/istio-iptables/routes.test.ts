// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { parseTables } from "../../../../src/intercept/istio-iptables/nft-run.ts";
import { isRule } from "../../../../src/intercept/istio-iptables/routes.ts";

describe("a policy rule is the same", () => {
  const rule = { family: 4, mark: 1337, table: 133 } as const;

  it.each([
    ["32765:\tfrom all fwmark 0x539 lookup 133", true],
    ["100:\tfrom all fwmark 0x539 lookup 133 ", true],
    ["32765:\tfrom all fwmark 0x539/0xffffffff lookup 133", true],
    ["32765:\tfrom all fwmark 0x539/0xfff lookup 133", false],
    ["32765:\tfrom all fwmark 0x539 lookup 134", false],
    ["32765:\tfrom all fwmark 0x53a lookup 133", false],
    ["32765:\tfrom all fwmark 0x539 iif lo lookup 133", false],
    ["32765:\tnot from all fwmark 0x539 lookup 133", false],
    ["32765:\tfrom 10.0.0.1 fwmark 0x539 lookup 133", false],
    ["32766:\tfrom all lookup main", false],
    ["", false],
  ])("%j: %s", (line, same) => {
    expect(isRule(line, rule)).toBe(same);
  });

  it("with a mask and a priority only when they are the same, too", () => {
    const exact = { ...rule, mark: 0x111, mask: 0xfff, priority: 32_764 };
    expect(isRule("32764:\tfrom all fwmark 0x111/0xfff lookup 133", exact)).toBe(true);
    expect(isRule("32765:\tfrom all fwmark 0x111/0xfff lookup 133", exact)).toBe(false);
    expect(isRule("32764:\tfrom all fwmark 0x111 lookup 133", exact)).toBe(false);
  });
});

describe("nft's listing", () => {
  it("is taken apart into the tables that are ours by name", () => {
    const nat = "table inet istio-proxy-nat {\n\tchain output {\n\t\ttype nat hook output priority -100;\n\t}\n}\n";
    const listing = `table inet mine {\n}\n${nat}table inet istio-proxy-raw {\n}\ntable inet my-istio-proxy-x {\n}\n`;
    expect([...parseTables(listing, "ISTIO")]).toEqual([
      ["istio-proxy-nat", nat],
      ["istio-proxy-raw", "table inet istio-proxy-raw {\n}\n"],
    ]);
  });
});
