// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { plan } from "../../../../src/intercept/nftables/plan.ts";
import { render } from "../../../../src/intercept/nftables/render.ts";
import type { InterceptSpec } from "../../../../src/intercept/spec.ts";
import { anInbound, anOutbound, aSpec } from "../iptables/iptables-specs.ts";

const goldenFolder = join(dirname(fileURLToPath(import.meta.url)), "golden");
const facts = { cgroup2: { mountPoint: "/sys/fs/cgroup/unified", root: "/" } };

const cases: Record<string, InterceptSpec> = {
  "istio-defaults": aSpec({ outbound: anOutbound({ excludePorts: [15020] }), inbound: anInbound() }),
  "external-sidecar": aSpec({
    outbound: anOutbound(),
    inbound: anInbound(),
    proxy: { uids: [1337], gids: [1337], external: true },
  }),
  "external-sidecar-with-dns": aSpec({
    outbound: anOutbound({ dns: { kind: "servers", servers: ["10.96.0.10", "fd00:96::a"], port: 15053 } }),
    inbound: anInbound(),
    proxy: { uids: [1337], gids: [1337], external: true },
  }),
  "inbound-only": aSpec({ inbound: anInbound() }),
  "inbound-preserving-source": aSpec({ inbound: anInbound({ preserveMark: { value: 0x1539, mask: 0x1fff } }) }),
  "inbound-only-external": aSpec({ inbound: anInbound(), proxy: { uids: [1337], gids: [], external: true } }),
  "inbound-ports-and-clients": aSpec({
    inbound: anInbound({
      includePorts: [80, 443],
      excludePorts: [],
      includeCidrs: [
        { address: "10.0.0.0", prefixLength: 8 },
        { address: "fd00::", prefixLength: 8 },
      ],
      excludeCidrs: [{ address: "10.1.0.0", prefixLength: 16 }],
    }),
  }),
  "outbound-ranges": aSpec({
    outbound: anOutbound({
      includePorts: [5432],
      excludePorts: [22],
      includeCidrs: [
        { address: "10.0.0.0", prefixLength: 8 },
        { address: "fd00::", prefixLength: 8 },
      ],
      excludeCidrs: [
        { address: "10.9.0.0", prefixLength: 16 },
        { address: "fd09::", prefixLength: 16 },
      ],
    }),
  }),
  "outbound-nothing-included": aSpec({ outbound: anOutbound({ includeCidrs: [] }) }),
  "many-ports": aSpec({ outbound: anOutbound({ excludePorts: Array.from({ length: 31 }, (_, i) => 9000 + i) }) }),
  "exec-cgroup": aSpec({
    name: "exec 4711",
    target: { kind: "cgroup", path: "/sys/fs/cgroup/unified/shunt/exec-4711", netnsPath: "/proc/self/ns/net" },
    outbound: anOutbound({ captureLoopback: true, captureLocal: true }),
  }),
  "exec-cgroup-with-dns": aSpec({
    name: "exec 4711",
    target: { kind: "cgroup", path: "/sys/fs/cgroup/unified/shunt/exec-4711", netnsPath: "/proc/self/ns/net" },
    outbound: anOutbound({ port: 40001, captureLoopback: true, captureLocal: true, dns: { kind: "all", port: 40053 } }),
  }),
  "loopback-captured": aSpec({ outbound: anOutbound({ captureLoopback: true }) }),
  "local-captured": aSpec({ outbound: anOutbound({ captureLocal: true }) }),
  "ranges-in-ranges": aSpec({
    outbound: anOutbound({
      includeCidrs: [
        { address: "0.0.0.0", prefixLength: 0 },
        { address: "fd00:1::", prefixLength: 32 },
        { address: "fd00::", prefixLength: 8 },
      ],
      excludeCidrs: [
        { address: "10.1.0.0", prefixLength: 16 },
        { address: "10.0.0.0", prefixLength: 8 },
        { address: "192.0.2.7", prefixLength: 32 },
        { address: "10.0.0.0", prefixLength: 8 },
      ],
    }),
  }),
  "owner-groups-except": aSpec({
    outbound: anOutbound({
      ownerGroups: { kind: "all-except", groups: [7, 8] },
      dns: { kind: "all", port: 15053 },
    }),
  }),
  "owner-groups-only": aSpec({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [9] } }) }),
  "owner-groups-none": aSpec({
    outbound: anOutbound({ ownerGroups: { kind: "only", groups: [] }, dns: { kind: "all", port: 15053 } }),
  }),
  interfaces: aSpec({
    outbound: anOutbound({ excludePorts: [22], dns: { kind: "all", port: 15053 } }),
    inbound: anInbound(),
    interfaces: { exclude: ["eth1", "net1"], reroute: ["tap0", "tap1"] },
    dropInvalid: true,
  }),
  "self-entry": aSpec({
    outbound: anOutbound({ captureLocalDns: true, dns: { kind: "all", port: 15053 } }),
    inbound: anInbound({ preserveMark: { value: 0x1539, mask: 0x1fff } }),
    proxy: {
      uids: [1337, 1338],
      gids: [1337],
      external: true,
      selfEntry: {
        uids: { ids: [1337], ports: { kind: "all-except", ports: [15008, 53] } },
        gids: { ids: [1337], ports: { kind: "only", ports: [53] } },
        excludeCidrs: [{ address: "127.0.0.1", prefixLength: 32 }],
        transparent: true,
      },
    },
    interfaces: { exclude: ["eth1", "net+"], reroute: ["tap+"] },
    ipv6: false,
  }),
  "fail-mode-direct": aSpec({ outbound: anOutbound(), inbound: anInbound(), failMode: "direct" }),
  "long-name": aSpec({ name: "n".repeat(253), outbound: anOutbound() }),
  "dns-all": aSpec({ outbound: anOutbound({ dns: { kind: "all", port: 15053 } }) }),
  "dns-port-excluded": aSpec({ outbound: anOutbound({ excludePorts: [53], dns: { kind: "all", port: 15053 } }) }),
  "proxy-by-cgroup": aSpec({
    outbound: anOutbound(),
    proxy: { cgroup: "/sys/fs/cgroup/unified/proxy one", uids: [], gids: [], external: true },
  }),
};

describe("render", () => {
  it.each(Object.keys(cases))("writes the rules of %s", (name) => {
    const spec = cases[name];
    if (!spec) throw new Error(name);
    const text = render(plan(spec, facts));
    const file = join(goldenFolder, `${name}.golden`);
    if (process.env["UPDATE_GOLDEN"] === "1") {
      mkdirSync(goldenFolder, { recursive: true });
      writeFileSync(file, text);
    }
    expect(existsSync(file), `${file} is made by UPDATE_GOLDEN=1`).toBe(true);
    expect(text).toBe(readFileSync(file, "utf8"));
  });
});
