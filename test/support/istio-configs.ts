// SPDX-License-Identifier: Apache-2.0
/** Configurations of Istio's generators for tests: the defaults with something changed, and random ones. */
import fc from "fast-check";
import type { AmbientHostConfig, AmbientPodConfig, SidecarConfig } from "../../src/intercept/istio/istio-config.ts";

export function aSidecar(overrides: Partial<SidecarConfig> = {}): SidecarConfig {
  return {
    proxyPort: 15001,
    inboundCapturePort: 15006,
    inboundTunnelPort: 15008,
    proxyUids: ["1337"],
    proxyGids: ["1337"],
    interceptionMode: "REDIRECT",
    inboundTproxyMark: 1337,
    inboundTproxyRouteTable: 133,
    inboundPortsInclude: [],
    inboundPortsExclude: [],
    ownerGroupsInclude: "*",
    ownerGroupsExclude: [],
    outboundPortsInclude: [],
    outboundPortsExclude: [],
    outboundIpRangesInclude: [],
    outboundIpRangesExclude: [],
    rerouteVirtualInterfaces: [],
    excludeInterfaces: [],
    redirectDns: false,
    captureAllDns: false,
    dnsServersV4: [],
    dnsServersV6: [],
    dropInvalid: false,
    enableIpv6: false,
    hostIpv4LoopbackCidr: "127.0.0.1/32",
    ...overrides,
  };
}

export function anAmbientPod(overrides: Partial<AmbientPodConfig> = {}): AmbientPodConfig {
  return {
    enableIpv6: false,
    redirectDns: false,
    dnsProxy: 0,
    ingressMode: false,
    virtualInterfaces: [],
    hostProbeSnatAddress: "169.254.7.127",
    hostProbeV6SnatAddress: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
    ...overrides,
  };
}

export function anAmbientHost(overrides: Partial<AmbientHostConfig> = {}): AmbientHostConfig {
  return {
    enableIpv6: false,
    hostProbeSnatAddress: "169.254.7.127",
    hostProbeV6SnatAddress: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
    kubeletUid: 0,
    ...overrides,
  };
}

const port = fc.integer({ min: 1, max: 65535 });
const ports = fc.array(port, { maxLength: 4 });
const id = fc.integer({ min: 0, max: 65534 }).map(String);
const ids = fc.array(id, { maxLength: 3 });
/** With names that nft would take for words of its own. */
const interfaces = fc.array(fc.constantFrom("eth0", "net1", "veth-a.1", "mark", "ip6", "cni_0", "eth+"), {
  maxLength: 2,
});
const range = fc.oneof(
  fc.constantFrom("127.1.2.3/32", "::1/128", "0.0.0.0/0", "::/0", "10.1.2.3/8", "::ffff:10.0.0.0/104"),
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([address, length]) => `${address}/${length}`),
  fc.integer({ min: 0, max: 0xffff }).map((n) => `2001:db8:${n.toString(16)}::/48`),
);
const ranges = fc.array(range, { maxLength: 3 });
const wildcard = <T>(list: fc.Arbitrary<T[]>): fc.Arbitrary<"*" | T[]> => fc.oneof(fc.constant("*" as const), list);

/** Whatever the parsers let through; owners are numbers, so that every machine knows them. */
export const anySidecar: fc.Arbitrary<SidecarConfig> = fc.record({
  proxyPort: port,
  inboundCapturePort: port,
  inboundTunnelPort: port,
  proxyUids: ids,
  proxyGids: ids,
  interceptionMode: fc.constantFrom("REDIRECT", "TPROXY"),
  inboundTproxyMark: fc.integer({ min: 1, max: 0xffff_ffff }),
  inboundTproxyRouteTable: fc.integer({ min: 1, max: 0xffff_ffff }),
  inboundPortsInclude: wildcard(ports),
  inboundPortsExclude: ports,
  ownerGroupsInclude: wildcard(fc.array(id, { maxLength: 64 })),
  ownerGroupsExclude: ids,
  outboundPortsInclude: ports,
  outboundPortsExclude: ports,
  outboundIpRangesInclude: wildcard(ranges),
  outboundIpRangesExclude: ranges,
  rerouteVirtualInterfaces: interfaces,
  excludeInterfaces: interfaces,
  redirectDns: fc.boolean(),
  captureAllDns: fc.boolean(),
  dnsServersV4: fc.array(fc.ipV4(), { maxLength: 2 }),
  dnsServersV6: fc.array(
    fc.integer({ min: 1, max: 0xffff }).map((n) => `fd00::${n.toString(16)}`),
    { maxLength: 2 },
  ),
  dropInvalid: fc.boolean(),
  enableIpv6: fc.boolean(),
  hostIpv4LoopbackCidr: fc.constantFrom("127.0.0.1/32", "127.0.0.1/8", "127.0.0.0/16"),
});

export const anyAmbientPod: fc.Arbitrary<AmbientPodConfig> = fc.record({
  enableIpv6: fc.boolean(),
  redirectDns: fc.boolean(),
  dnsProxy: fc.constantFrom(0, 1, 2),
  ingressMode: fc.boolean(),
  virtualInterfaces: interfaces,
  excludeInterfaces: interfaces,
  hostProbeSnatAddress: fc.constant("169.254.7.127"),
  hostProbeV6SnatAddress: fc.constant("fd16:9254:7127:1337:ffff:ffff:ffff:ffff"),
});
