// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { type Surroundings, validationProbes } from "../../../../src/agent/rules/validation-probes.ts";
import type { InterceptSpec } from "../../../../src/intercept/spec.ts";

const AROUND: Surroundings = {
  addresses: ["10.0.0.5", "fd00::5", "::6"],
  routes: [
    { address: "10.0.0.0", prefixLength: 24 },
    { address: "fd00::", prefixLength: 64 },
  ],
};

const SPEC: InterceptSpec = {
  name: "web",
  target: { kind: "netns", path: "/run/netns/web" },
  outbound: {
    port: 15_001,
    includePorts: [],
    excludePorts: [],
    includeCidrs: "all",
    excludeCidrs: [],
    captureLoopback: false,
    captureLocal: false,
    dns: { kind: "off" },
    ownerGroups: { kind: "all-except", groups: [] },
  },
  inbound: { port: 15_006, includePorts: "all", excludePorts: [], includeCidrs: "all", excludeCidrs: [] },
  proxy: { uids: [1337], gids: [1337], external: true },
  interfaces: { exclude: [], reroute: [] },
  dropInvalid: false,
  failMode: "deny",
  trace: false,
};
const outbound = (more: Partial<NonNullable<InterceptSpec["outbound"]>>): InterceptSpec => ({
  ...SPEC,
  outbound: { ...SPEC.outbound, ...more } as NonNullable<InterceptSpec["outbound"]>,
});
const test = (spec: InterceptSpec, direction: "outbound" | "inbound", around = AROUND) =>
  validationProbes(spec, around).tests.find((one) => one.direction === direction);

describe("the connections of a validation", () => {
  it("go to a neighbour and, as the proxy, to the pod itself", () => {
    expect(validationProbes(SPEC, AROUND)).toEqual({
      untested: [],
      tests: [
        {
          direction: "outbound",
          identity: { uid: 65_534, gid: 65_534 },
          probes: [
            { family: 4, source: "0.0.0.0", address: "10.0.0.3", port: 15_002 },
            { family: 6, source: "::", address: "fd00::3", port: 15_002 },
          ],
        },
        {
          direction: "inbound",
          identity: { uid: 1337, gid: 1337 },
          probes: [
            { family: 4, source: "0.0.0.0", address: "10.0.0.5", port: 15_002 },
            { family: 6, source: "::", address: "fd00::5", port: 15_002 },
          ],
        },
      ],
    });
  });

  it("go to nobody's address where a default route leads there", () => {
    const around = { ...AROUND, routes: [{ address: "0.0.0.0", prefixLength: 0 }] };
    expect(test(SPEC, "outbound", around)?.probes).toEqual([
      { family: 4, source: "0.0.0.0", address: "192.0.2.1", port: 15_002 },
    ]);
  });

  it("take a port and an address that the policy captures", () => {
    const spec = outbound({ excludePorts: [15_002, 15_003], excludeCidrs: [{ address: "10.0.0.0", prefixLength: 8 }] });
    expect(test(spec, "outbound")?.probes).toEqual([{ family: 6, source: "::", address: "fd00::3", port: 80 }]);
    expect(validationProbes(spec, AROUND).untested).toEqual([
      expect.stringContaining("outbound, IPv4: nothing is captured"),
    ]);
  });

  it("are made by a group that is captured", () => {
    const only = outbound({ ownerGroups: { kind: "only", groups: [77] } });
    expect(test(only, "outbound")?.identity).toEqual({ uid: 65_534, gid: 77 });
    const except = outbound({ ownerGroups: { kind: "all-except", groups: [65_534] } });
    expect(test(except, "outbound")?.identity).toEqual({ uid: 65_534, gid: 65_533 });
  });

  it("are not made where none can be, which is said", () => {
    const own: InterceptSpec = { ...SPEC, proxy: { uids: [], gids: [], mark: { value: 1, mask: 1 }, external: false } };
    expect(validationProbes(own, AROUND).untested).toEqual([expect.stringContaining("only connections from outside")]);
    const cgroup: InterceptSpec = { ...SPEC, target: { kind: "cgroup", path: "/c", netnsPath: "/n" } };
    expect(validationProbes(cgroup, AROUND).untested).toEqual([expect.stringContaining("cgroup /c")]);
    const unrouted = validationProbes(SPEC, { ...AROUND, routes: [] }).untested;
    expect(unrouted).toHaveLength(2);
  });
});
