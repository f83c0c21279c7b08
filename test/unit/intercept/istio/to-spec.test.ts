// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { groupIds } from "../../../../src/intercept/istio/group-ids.ts";
import { sidecarToSpec } from "../../../../src/intercept/istio/to-spec.ts";
import type { InterceptSpec } from "../../../../src/intercept/spec.ts";
import { type GoConfig, peerSidecar } from "../../../support/peer-sidecar.ts";

const DEFAULTS = {
  ProxyPort: "15001",
  InboundCapturePort: "15006",
  InboundTunnelPort: "15008",
  ProxyUID: "1337",
  ProxyGID: "1337",
  InboundTProxyMark: "1337",
  InboundTProxyRouteTable: "133",
  OwnerGroupsInclude: "*",
  HostIPv4LoopbackCidr: "127.0.0.1/32",
};
const specOf = (changes: GoConfig): InterceptSpec =>
  sidecarToSpec(peerSidecar({ ...DEFAULTS, ...changes }), {
    name: "web",
    target: { kind: "netns", path: "/run/netns/web" },
    failMode: "deny",
    groupId: groupIds("root:x:0:\njava:x:5001:\n"),
  });

describe("a sidecar's configuration as a specification", () => {
  it("captures what it lists: nothing by default, but the proxy enters its own pod", () => {
    const { outbound, inbound, proxy, ipv6 } = specOf({});
    expect(outbound).toMatchObject({ includeCidrs: [], includePorts: [], captureLoopback: false, captureLocal: false });
    expect(inbound).toMatchObject({ port: 15006, includePorts: [], excludePorts: [15008] });
    expect(proxy.selfEntry?.uids).toEqual({ ids: [1337], ports: { kind: "all-except", ports: [15008] } });
    expect(proxy.selfEntry?.gids.ids).toEqual([]);
    expect(ipv6).toBe(false);
  });

  it("counts excluded inbound ports with the wildcard alone, and the tunnel port but in TPROXY mode", () => {
    const excluded = { InboundPortsExclude: "81,82" };
    expect(specOf({ ...excluded, InboundPortsInclude: "*" }).inbound?.excludePorts).toEqual([81, 82, 15008]);
    expect(specOf({ ...excluded, InboundPortsInclude: "80" }).inbound?.excludePorts).toEqual([15008]);
    const tproxy = specOf({ ...excluded, InboundPortsInclude: "*", InboundInterceptionMode: "TPROXY" });
    expect(tproxy.inbound).toMatchObject({ excludePorts: [81, 82], preserveMark: { value: 1337, mask: 0xffff_ffff } });
    expect(tproxy.proxy.selfEntry?.transparent).toBe(true);
  });

  it("takes a loopback range of one family for the capture of both", () => {
    const { outbound, proxy } = specOf({ OutboundIPRangesInclude: "127.1.2.3/32,9.9.0.0/16", ProxyUID: "3,4" });
    expect(outbound).toMatchObject({ captureLoopback: true, captureLocal: true });
    expect(outbound?.excludeCidrs).toEqual([
      { address: "127.0.0.1", prefixLength: 32 },
      { address: "::1", prefixLength: 128 },
    ]);
    expect(proxy.selfEntry).toMatchObject({ uids: { ids: [3, 4] }, gids: { ids: [1337] } });
  });

  it("lets the first user alone enter by itself, and with DNS capture groups at port 53", () => {
    const dns = { RedirectDNS: true, DNSServersV4: ["10.96.0.10"], ProxyUID: "3,4", ProxyGID: "1,2" };
    expect(specOf({ ...dns, OutboundPortsExclude: "22" }).proxy.selfEntry).toMatchObject({
      uids: { ids: [3], ports: { kind: "all-except", ports: [22, 15008, 53] } },
      gids: { ids: [1, 2], ports: { kind: "only", ports: [53] } },
    });
    expect(specOf({ ...dns, OutboundPortsExclude: "53" }).proxy.selfEntry?.gids.ports.ports).toEqual([]);
  });

  it("switches DNS capture off where there is nobody to be captured", () => {
    expect(specOf({ RedirectDNS: true }).outbound?.dns).toEqual({ kind: "off" });
    expect(specOf({ RedirectDNS: true, CaptureAllDNS: true }).outbound?.dns).toEqual({ kind: "all", port: 15053 });
  });

  it("resolves group names, and names the one that nobody knows", () => {
    const groups = { kind: "only", groups: [5001, 202] };
    expect(specOf({ OwnerGroupsInclude: "java,202" }).outbound?.ownerGroups).toEqual(groups);
    expect(() => specOf({ OwnerGroupsInclude: "nobody-here" })).toThrow('"nobody-here"');
    expect(specOf({ OwnerGroupsExclude: "java" }).outbound?.ownerGroups.kind).toBe("all-except");
    expect(specOf({ OwnerGroupsInclude: "" }).outbound?.ownerGroups).toEqual({ kind: "only", groups: [] });
  });

  it("drops ranges written as v4-mapped, which no packet has", () => {
    const { outbound } = specOf({ OutboundIPRangesInclude: "::ffff:10.0.0.0/104,fd00::/8" });
    expect(outbound?.includeCidrs).toEqual([{ address: "fd00::", prefixLength: 8 }]);
  });
});
