// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ambientHostIptables, ambientPodIptables } from "../../../../src/intercept/istio/ambient-iptables.ts";
import { ambientHostNftables, ambientPodNftables } from "../../../../src/intercept/istio/ambient-nftables.ts";
import type { IptablesProgram } from "../../../../src/intercept/istio/iptables-program.ts";
import type { AmbientPodConfig, SidecarConfig } from "../../../../src/intercept/istio/istio-config.ts";
import type { NftProgram } from "../../../../src/intercept/istio/nft-program.ts";
import { renderDryRun } from "../../../../src/intercept/istio/render-iptables.ts";
import { renderNft } from "../../../../src/intercept/istio/render-nft.ts";
import { sidecarIptables } from "../../../../src/intercept/istio/sidecar-iptables.ts";
import { sidecarNftables } from "../../../../src/intercept/istio/sidecar-nftables.ts";
import { anAmbientHost, anAmbientPod, aSidecar } from "../../../support/istio-configs.ts";

const goldenFolder = join(import.meta.dirname, "golden");

const owners = { proxyUids: ["3", "4"], proxyGids: ["1", "2"] };
const servers = { redirectDns: true, dnsServersV4: ["10.96.0.10", "10.96.0.11"], dnsServersV6: ["fd00:96::a"] };
const interfaces = { rerouteVirtualInterfaces: ["net1", "net2"], excludeInterfaces: ["mgmt0", "mgmt1"] };
const ranges = {
  outboundIpRangesInclude: ["10.1.2.3/8", "fd00:1::/32", "192.0.2.0/24"],
  outboundIpRangesExclude: ["10.9.0.0/16", "fd00:9::/32"],
};
const tproxy = { interceptionMode: "TPROXY", inboundPortsInclude: "*" } as const;

const sidecars: Readonly<Record<string, Partial<SidecarConfig>>> = {
  "nothing-captured": {},
  "all-captured": { inboundPortsInclude: "*", outboundIpRangesInclude: "*" },
  "all-captured-ipv6": { inboundPortsInclude: "*", outboundIpRangesInclude: "*", enableIpv6: true },
  "inbound-excluded": { inboundPortsInclude: "*", inboundPortsExclude: [15090, 15021, 15020] },
  "inbound-listed-ignores-exclusions": { inboundPortsInclude: [8080, 80], inboundPortsExclude: [8080] },
  "outbound-ports": { outboundPortsInclude: [443, 80], outboundPortsExclude: [3306, 53], outboundIpRangesInclude: "*" },
  ranges,
  "ranges-ipv6": { ...ranges, enableIpv6: true },
  "loopback-range-v4": { outboundIpRangesInclude: ["127.1.2.3/32"], enableIpv6: true },
  "loopback-range-v6-with-dns": { ...servers, ...owners, outboundIpRangesInclude: ["::1/128"] },
  "loopback-cidr": { hostIpv4LoopbackCidr: "127.0.0.1/8", enableIpv6: true },
  "owners-without-dns": { ...owners, enableIpv6: true },
  "no-owners": { proxyUids: [], proxyGids: [], redirectDns: true, captureAllDns: true },
  "groups-included": { ownerGroupsInclude: ["java", "202"], ownerGroupsExclude: ["ignored"] },
  "groups-excluded": { ownerGroupsExclude: ["888", "ftp"] },
  "groups-none": { ownerGroupsInclude: [], redirectDns: true, captureAllDns: true, outboundIpRangesInclude: "*" },
  "dns-servers": { ...servers, ...owners },
  "dns-servers-ipv6": { ...servers, ...owners, enableIpv6: true },
  "dns-v4-servers-only-ipv6": { ...servers, dnsServersV6: [], enableIpv6: true },
  "dns-v6-servers-only-ipv6": { ...servers, dnsServersV4: [], enableIpv6: true },
  "dns-v6-servers-only": { ...servers, dnsServersV4: [] },
  "dns-all-beats-servers": { ...servers, ...owners, captureAllDns: true, enableIpv6: true },
  "dns-without-servers": { redirectDns: true, ...owners },
  "dns-all-alone": { captureAllDns: true },
  "drop-invalid": { dropInvalid: true, excludeInterfaces: ["mgmt0"], enableIpv6: true },
  "drop-invalid-tproxy": { ...tproxy, dropInvalid: true, excludeInterfaces: ["mgmt0"] },
  "interfaces-all": { ...interfaces, inboundPortsInclude: "*", outboundIpRangesInclude: "*", enableIpv6: true },
  "interfaces-ranges": { ...interfaces, ...ranges, inboundPortsInclude: [80], enableIpv6: true },
  tproxy,
  "tproxy-ipv6": { ...tproxy, ...owners, inboundPortsExclude: [15020], enableIpv6: true },
  "tproxy-listed": { ...tproxy, inboundPortsInclude: [8080, 9090], excludeInterfaces: ["mgmt0"] },
  "tproxy-nothing-inbound-ipv6": { interceptionMode: "TPROXY", enableIpv6: true },
  "custom-numbers": {
    ...tproxy,
    proxyPort: 16001,
    inboundCapturePort: 16006,
    inboundTunnelPort: 16008,
    inboundTproxyMark: 2000,
    inboundTproxyRouteTable: 200,
    hostIpv4LoopbackCidr: "127.0.0.0/16",
    redirectDns: true,
    captureAllDns: true,
  },
  "words-of-nft": {
    excludeInterfaces: ["mark"],
    rerouteVirtualInterfaces: ["ip6", "1eth"],
    ownerGroupsExclude: ["log"],
    outboundIpRangesInclude: "*",
  },
};

const pods: Readonly<Record<string, Partial<AmbientPodConfig>>> = {
  plain: {},
  ipv6: { enableIpv6: true },
  dns: { redirectDns: true },
  "dns-ipv6": { redirectDns: true, enableIpv6: true },
  "dns-wanted-by-pod": { dnsProxy: 1 },
  "dns-refused-by-pod": { redirectDns: true, dnsProxy: 2 },
  ingress: { ingressMode: true },
  "ingress-ipv6-dns": { ingressMode: true, enableIpv6: true, redirectDns: true },
  "virtual-interfaces": { virtualInterfaces: ["net1", "net2"], enableIpv6: true },
  "ingress-virtual-interface": { virtualInterfaces: ["net1"], ingressMode: true },
  "excluded-interfaces": { virtualInterfaces: ["net1"], excludeInterfaces: ["mgmt0"], redirectDns: true },
};

/** All three forms in one file, so that a difference between them shows in review. */
function text(iptables: IptablesProgram, nftables: NftProgram, finalState: boolean): string {
  const dryRun = renderDryRun(iptables, { ipv6: iptables.v6.length > 0, finalState });
  return `${dryRun}\n${renderNft(nftables)}`;
}

function expectGolden(name: string, written: string): void {
  const file = join(goldenFolder, `${name}.golden`);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(goldenFolder, { recursive: true });
    writeFileSync(file, written);
  }
  expect(existsSync(file), `${file} is made by UPDATE_GOLDEN=1`).toBe(true);
  expect(written).toBe(readFileSync(file, "utf8"));
}

describe("Istio's rules", () => {
  it.each(Object.entries(sidecars))("of a sidecar with %s", (name, overrides) => {
    const config = aSidecar(overrides);
    expectGolden(`sidecar-${name}`, text(sidecarIptables(config), sidecarNftables(config), true));
  });

  it.each(Object.entries(pods))("of an ambient pod with %s", (name, overrides) => {
    const config = anAmbientPod(overrides);
    expectGolden(`ambient-${name}`, text(ambientPodIptables(config), ambientPodNftables(config), false));
  });

  it.each([false, true])("of an ambient host, IPv6 %s", (enableIpv6) => {
    const config = anAmbientHost({ enableIpv6, kubeletUid: 1000 });
    const name = enableIpv6 ? "ambient-host-ipv6" : "ambient-host";
    expectGolden(name, text(ambientHostIptables(config), ambientHostNftables(config), false));
  });

  it("carry another prefix on request", () => {
    const config = aSidecar({ ...tproxy, ...servers, dropInvalid: true });
    const options = { chainPrefix: "SHUNT" };
    const written = text(sidecarIptables(config, options), sidecarNftables(config, options), true);
    expect(written).not.toMatch(/istio_/i);
    expect(written.replaceAll("SHUNT_", "ISTIO_").replaceAll("shunt-", "istio-")).toBe(
      text(sidecarIptables(config), sidecarNftables(config), true),
    );
  });
});
