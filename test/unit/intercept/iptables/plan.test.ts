// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { plan } from "../../../../src/intercept/iptables/plan.ts";
import { anInbound, anOutbound, aSpec, MARK } from "./iptables-specs.ts";

const facts = { cgroup2: { mountPoint: "/sys/fs/cgroup", root: "/" } };

describe("plan", () => {
  it("gives the same for the same", () => {
    const spec = aSpec({ outbound: anOutbound(), inbound: anInbound() });
    expect(plan(spec, facts)).toEqual(plan(structuredClone(spec), facts));
  });

  it("takes whatever arrives in another namespace for a cgroup there", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x", netnsPath: "/run/netns/x" } as const;
    const dispatch = plan(aSpec({ target, inbound: anInbound() }), facts).families[4].flatMap(
      (table) => table.dispatch,
    );
    expect(dispatch.map(({ hook }) => hook)).toContain("PREROUTING");
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

  it("warns of ranges by the hundred, which are compared one after another", () => {
    const ranges = Array.from({ length: 1000 }, (_, i) => ({ address: `10.${i >> 8}.${i & 255}.0`, prefixLength: 24 }));
    expect(plan(aSpec({ outbound: anOutbound({ excludeCidrs: ranges }) })).warnings).toEqual([
      expect.stringContaining("outbound.excludeCidrs: iptables compares every new connection with 1000 ranges"),
    ]);
    expect(plan(aSpec({ outbound: anOutbound({ excludeCidrs: ranges.slice(0, 99) }) })).warnings).toEqual([]);
  });

  it("says what can't be told of arriving packets by cgroup", () => {
    const target = { kind: "cgroup", path: "/sys/fs/cgroup/x", netnsPath: "/proc/self/ns/net" } as const;
    const interfaces = { exclude: [], reroute: ["vm0"] };
    const planned = plan(aSpec({ target, outbound: anOutbound(), interfaces, dropInvalid: true }), facts);
    expect(planned.warnings).toEqual([
      expect.stringContaining("dropInvalid: packets that arrive can't be matched by cgroup"),
      expect.stringContaining("interfaces.reroute: packets that arrive can't be matched by cgroup"),
    ]);
    expect(planned.families[4].flatMap(({ dispatch }) => dispatch.map(({ hook }) => hook))).toEqual(["OUTPUT"]);
  });

  it("says where listeners have to be reached", () => {
    const interfaces = { exclude: [], reroute: ["vm0"] };
    expect(plan(aSpec({ outbound: anOutbound(), interfaces })).listeners).toMatchObject({ outbound: "any" });
    expect(plan(aSpec({ inbound: anInbound() })).listeners).toEqual({
      outbound: "loopback",
      inbound: "any",
      dns: "loopback",
    });
  });
});
