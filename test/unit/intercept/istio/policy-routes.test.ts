// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ambientPodRoutes, sidecarRoutes } from "../../../../src/intercept/istio/policy-routes.ts";
import { anAmbientPod, aSidecar } from "../../../support/istio-configs.ts";

const tproxy = { interceptionMode: "TPROXY", inboundPortsInclude: [80] } as const;
const passthrough = { family: 6, address: "::6", prefixLength: 128, device: "lo" };

describe("routes of a sidecar", () => {
  it("are none for REDIRECT without IPv6", () => {
    expect(sidecarRoutes(aSidecar({ inboundPortsInclude: "*" }))).toEqual({ addresses: [], rules: [], routes: [] });
  });

  it("have ::6 on lo whenever IPv6 is on", () => {
    expect(sidecarRoutes(aSidecar({ enableIpv6: true }))).toEqual({ addresses: [passthrough], rules: [], routes: [] });
  });

  it("lead marked packets to lo in TPROXY mode, per family", () => {
    expect(sidecarRoutes(aSidecar(tproxy))).toEqual({
      addresses: [],
      rules: [{ family: 4, mark: 1337, table: 133 }],
      routes: [{ family: 4, destination: "0.0.0.0/0", device: "lo", table: 133 }],
    });
    const custom = { ...tproxy, enableIpv6: true, inboundTproxyMark: 2000, inboundTproxyRouteTable: 200 };
    expect(sidecarRoutes(aSidecar(custom))).toEqual({
      addresses: [passthrough],
      rules: [
        { family: 4, mark: 2000, table: 200 },
        { family: 6, mark: 2000, table: 200 },
      ],
      routes: [
        { family: 4, destination: "0.0.0.0/0", device: "lo", table: 200 },
        { family: 6, destination: "::/0", device: "lo", table: 200 },
      ],
    });
  });

  it("are not made for TPROXY while no inbound port is captured", () => {
    expect(sidecarRoutes(aSidecar({ ...tproxy, inboundPortsInclude: [] })).rules).toEqual([]);
  });
});

describe("routes of an ambient pod", () => {
  it("lead packets with ztunnel's mark to lo, in Istio's place among the rules", () => {
    const rule = { mark: 0x111, mask: 0xfff, priority: 32764, table: 100 };
    expect(ambientPodRoutes(anAmbientPod({ enableIpv6: true }))).toEqual({
      addresses: [],
      rules: [
        { family: 4, ...rule },
        { family: 6, ...rule },
      ],
      routes: [
        { family: 4, destination: "0.0.0.0/0", device: "lo", table: 100 },
        { family: 6, destination: "::/0", device: "lo", table: 100 },
      ],
    });
    expect(ambientPodRoutes(anAmbientPod()).rules).toHaveLength(1);
  });
});
