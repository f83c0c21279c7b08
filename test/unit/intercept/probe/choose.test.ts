// SPDX-License-Identifier: Apache-2.0
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choose } from "../../../../src/intercept/probe/choose.ts";
import {
  type FeatureName,
  type FeatureResult,
  type FeatureResults,
  features,
} from "../../../../src/intercept/probe/features.ts";

const names = features.map(({ name }) => name);

/** A machine that can do everything except what is listed. */
function without(...missing: FeatureName[]): FeatureResults {
  return new Map(
    names.map((name): [FeatureName, FeatureResult] => [
      name,
      missing.includes(name) ? { ok: false, reason: `no ${name} here` } : { ok: true },
    ]),
  );
}

const IPTABLES: FeatureName[] = ["iptables-nft", "iptables-legacy"];
const RULES: FeatureName[] = [...IPTABLES, "nftables"];

describe("the choice of a mode", () => {
  it("is eBPF both ways, tier A, where everything works", () => {
    expect(choose(without())).toMatchObject({
      mode: "ebpf",
      outbound: "ebpf",
      inbound: "ebpf",
      originalDestination: "sockops-map",
      tier: "A",
    });
  });

  it.each(["sk-msg", "sockhash"] as const)("is tier B without %s, which only acceleration needs", (name) => {
    expect(choose(without(name))).toMatchObject({ mode: "ebpf", tier: "B" });
  });

  it("is mixed, tier C, where inbound connections can't be steered, and says why", () => {
    const choice = choose(without("sk-lookup"));
    expect(choice).toMatchObject({ mode: "mixed", outbound: "ebpf", inbound: "iptables", tier: "C" });
    expect(choice.reason).toBe("eBPF inbound is not possible: sk-lookup (no sk-lookup here)");
  });

  it.each(["bpf-syscall", "cgroup2", "cgroup-connect4", "sockops", "sk-storage", "netns-cookie-connect"] as const)(
    "is rules, tier D, with conntrack without %s",
    (name) => {
      const choice = choose(without(name));
      expect(choice).toMatchObject({ mode: "iptables", originalDestination: "conntrack", tier: "D" });
      expect(choice.reason).toContain(`no ${name} here`);
    },
  );

  it("is none, with both reasons, where nothing works", () => {
    const choice = choose(without("cgroup-connect4", ...RULES));
    expect(choice).toMatchObject({ mode: "none", outbound: "none", inbound: "none", tier: null });
    expect(choice.reason).toContain("no cgroup-connect4 here");
    expect(choice.reason).toContain("no iptables-nft here");
    expect(choice.reason).toContain("no iptables-legacy here");
    expect(choice.reason).toContain("no nftables here");
  });

  it("is nftables where there is no iptables, and says why", () => {
    const choice = choose(without("sockops", ...IPTABLES));
    expect(choice).toMatchObject({ mode: "nftables", outbound: "nftables", inbound: "nftables", tier: "D" });
    expect(choice.reason).toContain("no sockops here");
    expect(choice.reason).toContain("nor is iptables: iptables-nft (no iptables-nft here)");
  });

  it("is mixed with nftables where there is no iptables", () => {
    expect(choose(without("sk-lookup", ...IPTABLES))).toMatchObject({ mode: "mixed", inbound: "nftables" });
  });

  it("needs one flavour of iptables, not both", () => {
    for (const name of IPTABLES) expect(choose(without("sockops", name)).mode).toBe("iptables");
  });
});

describe("a mode that was asked for", () => {
  it.each(["ebpf", "mixed", "iptables", "tproxy", "nftables"] as const)("is %s where it is possible", (mode) => {
    expect(choose(without(), mode).mode).toBe(mode);
  });

  it("is refused, not replaced, where it isn't", () => {
    const choice = choose(without("sk-lookup"), "ebpf");
    expect(choice.mode).toBe("none");
    expect(choice.reason).toBe("ebpf is not possible: sk-lookup (no sk-lookup here)");
  });

  it("of TPROXY is REDIRECT outbound, and needs TPROXY inbound alone", () => {
    expect(choose(without(), "tproxy")).toMatchObject({ outbound: "iptables", inbound: "tproxy", tier: "D" });
    expect(choose(without("tproxy"), "tproxy").reason).toBe("tproxy is not possible: tproxy (no tproxy here)");
    expect(choose(without("tproxy"), "tproxy", { inbound: false }).mode).toBe("tproxy");
    expect(choose(without(...IPTABLES), "tproxy").mode).toBe("none");
  });
});

describe("needs", () => {
  it("of outbound alone are met without sk_lookup", () => {
    expect(choose(without("sk-lookup"), "auto", { inbound: false }).mode).toBe("ebpf");
  });

  it("of DNS capture and of a foreign proxy count only when there are any", () => {
    expect(choose(without("cgroup-recvmsg", "cgroup-getsockopt")).mode).toBe("ebpf");
    expect(choose(without("cgroup-recvmsg"), "auto", { dns: true }).mode).not.toBe("ebpf");
    expect(choose(without("cgroup-getsockopt"), "auto", { externalProxy: true }).mode).not.toBe("ebpf");
  });

  it("of a foreign proxy include knowing the accepting end", () => {
    const old = without("netns-cookie-sockops", "so-netns-cookie");
    expect(choose(old)).toMatchObject({ mode: "ebpf", tier: "B" });
    expect(choose(old, "auto", { externalProxy: true }).mode).toBe("ebpf");
    const neither = without("netns-cookie-sockops", "sk-storage-inherited");
    expect(choose(neither).mode).toBe("ebpf");
    expect(choose(neither, "auto", { externalProxy: true }).reason).toContain("no netns-cookie-sockops here");
  });

  it("of a namespace's name are met by one way to learn it, and not without any", () => {
    expect(choose(without("so-netns-cookie")).mode).toBe("ebpf");
    expect(choose(without("netns-cookie-learnt")).mode).toBe("ebpf");
    const choice = choose(without("so-netns-cookie", "netns-cookie-learnt"));
    expect(choice.mode).toBe("iptables");
    expect(choice.reason).toContain("so-netns-cookie (no so-netns-cookie here); netns-cookie-learnt (no");
  });

  it("of one cgroup's processes rule out rules that can't match it", () => {
    const choice = choose(without("xt-cgroup"), "iptables", { cgroupOnly: true, inbound: false });
    expect(choice.mode).toBe("none");
    expect(choice.reason).toContain("no xt-cgroup here");
    expect(choose(without("sockops", "xt-cgroup"), "auto", { cgroupOnly: true }).mode).toBe("nftables");
    expect(choose(without("nft-cgroup"), "nftables", { cgroupOnly: true }).reason).toContain("no nft-cgroup here");
  });
});

it("whatever the machine, auto gives what asking for that mode gives, and never less than asking for another", () => {
  fc.assert(
    fc.property(fc.subarray(names), fc.boolean(), fc.boolean(), (missing, inbound, cgroupOnly) => {
      const results = without(...missing);
      const needs = { inbound, cgroupOnly };
      const auto = choose(results, "auto", needs);
      const possible = (["ebpf", "mixed", "iptables", "nftables"] as const).filter(
        (mode) => choose(results, mode, needs).mode === mode,
      );
      expect(auto.mode).toBe(possible[0] ?? "none");
    }),
  );
});
