// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { plan } from "../../../../src/intercept/nftables/plan.ts";
import { anInbound, anOutbound, aSpec, MARK } from "../iptables/iptables-specs.ts";

const facts = { cgroup2: { mountPoint: "/sys/fs/cgroup", root: "/" } };

describe("plan", () => {
  it("gives the same for the same", () => {
    const spec = aSpec({ outbound: anOutbound(), inbound: anInbound() });
    expect(plan(spec, facts)).toEqual(plan(structuredClone(spec), facts));
  });

  it("takes whatever arrives in another namespace for a cgroup there", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x", netnsPath: "/run/netns/x" } as const;
    const { dispatch } = plan(aSpec({ target, inbound: anInbound() }), facts);
    expect(dispatch.map(({ base }) => base)).toContain("nat-prerouting");
  });

  it("refuses inbound rules for a cgroup in the agent's own namespace", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x", netnsPath: "/proc/self/ns/net" } as const;
    expect(() => plan(aSpec({ target, inbound: anInbound() }), facts)).toThrow(
      /web: inbound connections can't be matched by cgroup/,
    );
  });

  it("refuses a cgroup where none can be matched", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x", netnsPath: "/proc/self/ns/net" } as const;
    expect(() => plan(aSpec({ target, outbound: anOutbound() }))).toThrow(/no cgroup2 file system is mounted/);
  });

  it("refuses rules that would lead the proxy to itself", () => {
    expect(() => plan(aSpec({ outbound: anOutbound(), proxy: { uids: [], gids: [], external: false } }))).toThrow(
      /nothing tells the proxy's own traffic/,
    );
    expect(plan(aSpec({ inbound: anInbound(), proxy: { uids: [], gids: [], external: false } })).warnings).toEqual([]);
  });

  it("names what rules can't do", () => {
    expect(plan(aSpec({ outbound: anOutbound(), failMode: "direct" })).warnings).toEqual([
      expect.stringContaining("failMode direct"),
    ]);
    const dns = (servers: string[]) =>
      plan(
        aSpec({
          outbound: anOutbound({ dns: { kind: "servers", servers, port: 15053 } }),
          proxy: { mark: MARK, uids: [], gids: [], external: false },
        }),
      ).warnings;
    expect(dns(["10.0.0.1", "10.0.0.2"])).toEqual([expect.stringContaining("over UDP")]);
    expect(dns(["10.0.0.1"])).toEqual([]);
  });

  it("puts a workload that is a cgroup before those around it", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x/y", netnsPath: "/proc/self/ns/net" } as const;
    const { dispatch } = plan(aSpec({ target, outbound: anOutbound() }), facts);
    expect(dispatch.map(({ rank }) => rank)).toEqual([{ kind: "level", level: 2 }]);
  });

  it("costs as many rules for a thousand ranges as for one", () => {
    const ranges = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ address: `10.${i >> 8}.${i & 255}.0`, prefixLength: 24 }));
    const rulesFor = (count: number): number =>
      plan(
        aSpec({ outbound: anOutbound({ excludeCidrs: ranges(count), includeCidrs: ranges(count) }) }),
      ).chains.flatMap(({ rules }) => rules).length;
    expect(rulesFor(1000)).toBe(rulesFor(1));
  });

  it("refuses names that nft can't be told", () => {
    const interfaces = { exclude: ['eth"0'], reroute: [] };
    expect(() => plan(aSpec({ outbound: anOutbound(), interfaces }))).toThrow(/interface "eth\\"0": nft takes no such/);
  });
});
