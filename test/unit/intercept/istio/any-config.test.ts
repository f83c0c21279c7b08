// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ambientPodIptables } from "../../../../src/intercept/istio/ambient-iptables.ts";
import { ambientHostNftables, ambientPodNftables } from "../../../../src/intercept/istio/ambient-nftables.ts";
import { type IptablesProgram, rulesOf } from "../../../../src/intercept/istio/iptables-program.ts";
import { IstioConfigError } from "../../../../src/intercept/istio/istio-config-error.ts";
import type { NftProgram } from "../../../../src/intercept/istio/nft-program.ts";
import { chainFacts, renderDryRun, renderRestore } from "../../../../src/intercept/istio/render-iptables.ts";
import { renderNft } from "../../../../src/intercept/istio/render-nft.ts";
import { sidecarIptables } from "../../../../src/intercept/istio/sidecar-iptables.ts";
import { sidecarNftables } from "../../../../src/intercept/istio/sidecar-nftables.ts";
import { anAmbientHost, anyAmbientPod, anySidecar } from "../../../support/istio-configs.ts";

const IPV4 = /\b\d+\.\d+\.\d+\.\d+\b/;

function checkIptables(program: IptablesProgram, ipv6: boolean): void {
  expect(program.v6.length > 0).toBe(ipv6);
  for (const family of [4, 6] as const) {
    const rules = rulesOf(program, family);
    const facts = chainFacts(program, family);
    expect(facts.reduce((sum, fact) => sum + fact.rules, 0)).toBe(rules.length);
    const known = new Set(facts.map((fact) => `${fact.table} ${fact.chain}`));
    for (const { table, words } of rules) {
      const target = words[words.indexOf("-j") + 1] ?? "";
      if (target.startsWith("ISTIO_")) expect(known).toContain(`${table} ${target}`);
    }
    const addresses = rules.flatMap(({ words }) =>
      words.filter((_, i) => words[i - 1] === "-d" || words[i - 1] === "-s"),
    );
    for (const address of addresses) expect(address.includes(":"), address).toBe(family === 6);
  }
}

/** What nft would refuse: a jump to a chain that is not made, or an index that the chain does not reach. */
function checkNft(program: NftProgram): void {
  for (const { chains, rules } of program.tables) {
    const lengths = new Map(chains.map((chain) => [chain.name, 0]));
    for (const { chain, index, text } of rules) {
      const length = lengths.get(chain);
      expect(length, chain).toBeDefined();
      if (index !== undefined) expect(index).toBeLessThan(length ?? 0);
      lengths.set(chain, (length ?? 0) + 1);
      const target = /jump (\S+)$/.exec(text)?.[1];
      if (target !== undefined) expect([...lengths.keys()]).toContain(target);
    }
  }
}

describe("rules of any sidecar", () => {
  it("hold together in the iptables form, and each family has only its own addresses", () => {
    fc.assert(fc.property(anySidecar, (config) => checkIptables(sidecarIptables(config), config.enableIpv6)));
  });

  it("hold together in the nftables form, and name no IPv6 address while it is off", () => {
    fc.assert(
      fc.property(anySidecar, (config) => {
        const program = sidecarNftables(config);
        checkNft(program);
        if (!config.enableIpv6) expect(renderNft(program)).not.toMatch(/\bip6 [sd]addr\b/);
      }),
    );
  });

  it("come out the same every time", () => {
    fc.assert(
      fc.property(anySidecar, (config) => {
        const texts = (): string[] => [
          renderDryRun(sidecarIptables(config), { ipv6: config.enableIpv6 }),
          renderRestore(sidecarIptables(config), 6),
          renderNft(sidecarNftables(config)),
        ];
        expect(texts()).toEqual(texts());
      }),
    );
  });

  it("answer DNS the same way whether servers are listed or not once all of it is captured", () => {
    fc.assert(
      fc.property(anySidecar, (config) => {
        const all = { ...config, redirectDns: true, captureAllDns: true };
        const without = { ...all, dnsServersV4: [], dnsServersV6: [] };
        expect(sidecarIptables(all)).toEqual(sidecarIptables(without));
        expect(sidecarNftables(all)).toEqual(sidecarNftables(without));
      }),
    );
  });
});

describe("rules of any ambient pod", () => {
  it("hold together in both forms", () => {
    fc.assert(
      fc.property(anyAmbientPod, (config) => {
        checkIptables(ambientPodIptables(config), config.enableIpv6);
        checkNft(ambientPodNftables(config));
        expect(renderNft(ambientPodNftables(config))).toMatch(IPV4);
      }),
    );
  });
});

describe("nftables rules of an ambient host", () => {
  it("need the kubelet's user, which may be root", () => {
    expect(renderNft(ambientHostNftables(anAmbientHost({ kubeletUid: 0 })))).toContain("skuid 0 ");
    const { kubeletUid: _, ...nobody } = anAmbientHost();
    expect(() => ambientHostNftables(nobody)).toThrow(IstioConfigError);
  });
});

describe("renderNft", () => {
  it("puts a comment at the end of each rule on request", () => {
    const text = renderNft(ambientHostNftables(anAmbientHost()), { comment: "shunt:istio" });
    expect(text.split("\n").filter((line) => / rule /.test(line))).toEqual([
      expect.stringMatching(/snat to 169\.254\.7\.127 comment "shunt:istio"$/),
    ]);
  });
});
