// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ownerFlag, workloadFlag } from "../../../../src/bpf/generated/types.ts";
import { routeEntries } from "../../../../src/intercept/ebpf/excluded-interfaces.ts";
import { EbpfUnsupportedError, plan } from "../../../../src/intercept/ebpf/plan.ts";
import { parseCidr } from "../../../../src/util/ip.ts";
import { anInbound, anOutbound, aSpec } from "../iptables/iptables-specs.ts";

describe("the plan of map contents", () => {
  it("lists every user and group once, whatever it is to the workload", () => {
    const { owners } = plan(
      aSpec({
        outbound: anOutbound({ ownerGroups: { kind: "only", groups: [1337, 5001] } }),
        inbound: anInbound(),
        proxy: {
          uids: [3, 4],
          gids: [1337],
          external: true,
          selfEntry: {
            uids: { ids: [3], ports: { kind: "all-except", ports: [15008] } },
            gids: { ids: [1337], ports: { kind: "only", ports: [53] } },
            excludeCidrs: [],
            transparent: false,
          },
        },
      }),
    );
    expect(owners).toEqual([
      { key: { kind: "uid", id: 3 }, flags: ownerFlag.PROXY | ownerFlag.ENTERS_EXCEPT },
      { key: { kind: "uid", id: 4 }, flags: ownerFlag.PROXY },
      { key: { kind: "gid", id: 1337 }, flags: ownerFlag.PROXY | ownerFlag.ENTERS_ONLY | ownerFlag.GROUP },
      { key: { kind: "gid", id: 5001 }, flags: ownerFlag.GROUP },
    ]);
  });

  it("asks the programs for nothing that is not used", () => {
    const { flags } = plan(aSpec({ outbound: anOutbound() })).workload;
    expect(flags).toBe(workloadFlag.OUTBOUND | workloadFlag.OUTBOUND_ALL | workloadFlag.PROXY_MARK);
  });

  it("captures nothing for an empty list of groups, and everything but for an empty list of exceptions", () => {
    const flagsOf = (kind: "only" | "all-except"): number =>
      plan(aSpec({ outbound: anOutbound({ ownerGroups: { kind, groups: [] } }) })).workload.flags;
    expect(flagsOf("only") & workloadFlag.OWNER_GROUPS_ONLY).not.toBe(0);
    expect(flagsOf("all-except") & workloadFlag.OWNER_GROUPS_EXCEPT).toBe(0);
  });

  it.each([
    ["interfaces.reroute: net1", { interfaces: { exclude: [], reroute: ["net1"] } }],
    ["interfaces.exclude: lo", { interfaces: { exclude: ["lo"], reroute: [] } }],
    ["dropInvalid", { dropInvalid: true }],
  ])("refuses what the hooks cannot do, naming %s", (field, changes) => {
    const attempt = (): unknown => plan(aSpec({ outbound: anOutbound(), ...changes }));
    expect(attempt).toThrow(EbpfUnsupportedError);
    expect(attempt).toThrow(`web: ${field}: `);
  });
});

describe("the routes of excluded interfaces", () => {
  const route = (range: string, name: string) => ({ destination: parseCidr(range), interface: name });
  const isExcluded = (name: string): boolean => name === "net1";

  it("are nothing while no route leads to one", () => {
    expect(routeEntries([route("0.0.0.0/0", "eth0")], isExcluded)).toEqual([]);
  });

  it("come with those that lead elsewhere, which are longer or shorter", () => {
    const routes = [route("10.0.0.0/8", "net1"), route("10.1.0.0/16", "eth0"), route("0.0.0.0/0", "eth0")];
    expect(routeEntries(routes, isExcluded).map(({ key, covers }) => [key.address, key.prefixLength, covers])).toEqual([
      ["10.0.0.0", 64 + 96 + 8, true],
      ["10.1.0.0", 64 + 96 + 16, false],
      ["0.0.0.0", 64 + 96, false],
    ]);
  });

  it("do not let an IPv6 default route cover IPv4", () => {
    expect(routeEntries([route("::/0", "net1")], isExcluded).map(({ key, covers }) => [key.address, covers])).toEqual([
      ["::", true],
      ["0.0.0.0", false],
    ]);
  });
});
