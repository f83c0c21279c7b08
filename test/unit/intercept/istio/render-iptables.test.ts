// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ambientPodIptables } from "../../../../src/intercept/istio/ambient-iptables.ts";
import { append, type IptablesProgram, insert } from "../../../../src/intercept/istio/iptables-program.ts";
import { IstioConfigError } from "../../../../src/intercept/istio/istio-config-error.ts";
import { chainFacts, renderDryRun, renderRestore } from "../../../../src/intercept/istio/render-iptables.ts";
import { sidecarIptables } from "../../../../src/intercept/istio/sidecar-iptables.ts";
import { anAmbientPod, aSidecar } from "../../../support/istio-configs.ts";

const program: IptablesProgram = {
  v4: [
    append("nat", "OUTPUT", "-j LAST"),
    append("raw", "OUTPUT", "-j ONLY_JUMPED_TO"),
    append("nat", "FIRST", "-p tcp -j REDIRECT --to-ports 15001"),
    insert("nat", "PREROUTING", 1, "-i net1 -j FIRST"),
    append("nat", "LAST", "-j RETURN"),
    append("mangle", "MARKS", "-m mark --mark 1 -j CONNMARK --save-mark"),
  ],
  v6: [append("nat", "OUTPUT", "-j RETURN")],
};

describe("renderRestore", () => {
  it("orders tables by name and chains by their first rule, then those only jumped to", () => {
    expect(renderRestore(program, 4)).toBe(`*mangle
-N MARKS
-A MARKS -m mark --mark 1 -j CONNMARK --save-mark
COMMIT
*nat
-N FIRST
-N LAST
-A OUTPUT -j LAST
-A FIRST -p tcp -j REDIRECT --to-ports 15001
-I PREROUTING 1 -i net1 -j FIRST
-A LAST -j RETURN
COMMIT
*raw
-N ONLY_JUMPED_TO
-A OUTPUT -j ONLY_JUMPED_TO
COMMIT
`);
  });

  it("puts a comment before each target", () => {
    expect(renderRestore({ v4: program.v4.slice(2, 4), v6: [] }, 4, { comment: "shunt:istio" })).toBe(`*nat
-N FIRST
-A FIRST -p tcp -m comment --comment shunt:istio -j REDIRECT --to-ports 15001
-I PREROUTING 1 -i net1 -m comment --comment shunt:istio -j FIRST
COMMIT
`);
  });

  it("is empty for a family without rules", () => {
    expect(renderRestore({ v4: program.v4, v6: [] }, 6)).toBe("");
  });
});

describe("renderDryRun", () => {
  it("asks for both states first and shows the final IPv6 state only with IPv6", () => {
    const small: IptablesProgram = { v4: program.v6, v6: program.v6 };
    const rules = "* nat\n-A OUTPUT -j RETURN\nCOMMIT\n";
    expect(renderDryRun(small, { ipv6: false })).toBe(`iptables-save\nip6tables-save\n${rules}iptables-save\n`);
    expect(renderDryRun(small, { ipv6: true })).toBe(
      `iptables-save\nip6tables-save\n${rules}${rules}iptables-save\nip6tables-save\n`,
    );
    expect(renderDryRun(small, { ipv6: true, finalState: false })).toBe(
      `iptables-save\nip6tables-save\n${rules}${rules}`,
    );
  });
});

describe("chainFacts", () => {
  it("counts the rules of each chain and says how to check them", () => {
    expect(chainFacts(program, 4).map((f) => [f.table, f.chain, f.builtIn, f.rules])).toEqual([
      ["mangle", "MARKS", false, 1],
      ["nat", "OUTPUT", true, 1],
      ["nat", "FIRST", false, 1],
      ["nat", "PREROUTING", true, 1],
      ["nat", "LAST", false, 1],
      ["raw", "OUTPUT", true, 1],
      ["raw", "ONLY_JUMPED_TO", false, 0],
    ]);
    const commented = chainFacts(program, 4, { comment: "shunt:istio" }).find((f) => f.chain === "PREROUTING");
    expect(commented?.checks.map((words) => words.join(" "))).toEqual([
      "-t nat -C PREROUTING -i net1 -m comment --comment shunt:istio -j FIRST",
    ]);
  });

  it("knows the empty chain of an ambient ingress", () => {
    const facts = chainFacts(ambientPodIptables(anAmbientPod({ ingressMode: true })), 4);
    expect(facts.find((f) => f.table === "nat" && f.chain === "ISTIO_PRERT")).toMatchObject({ rules: 0, checks: [] });
  });
});

describe("a chain prefix", () => {
  it("is refused when a chain's name could not begin with it", () => {
    for (const chainPrefix of ["", "1ISTIO", "IS TIO", "A".repeat(17)]) {
      expect(() => sidecarIptables(aSidecar(), { chainPrefix })).toThrow(IstioConfigError);
    }
    expect(() => sidecarIptables(aSidecar(), { chainPrefix: "A".repeat(16) })).not.toThrow();
  });
});
