// SPDX-License-Identifier: Apache-2.0
import { describe, it } from "vitest";
import { plan } from "../../../../src/intercept/iptables/plan.ts";
import { restoreText } from "../../../../src/intercept/iptables/render.ts";
import { emptyRules, withGuard } from "../../../../src/intercept/iptables/rule-state.ts";
import { renderTransition } from "../../../../src/intercept/iptables/transition.ts";
import type { InterceptSpec } from "../../../../src/intercept/spec.ts";
import { expectGolden } from "../../../support/golden-file.ts";
import { anInbound, anOutbound, aSpec } from "./iptables-specs.ts";

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
  "dns-all": aSpec({ outbound: anOutbound({ dns: { kind: "all", port: 15053 } }) }),
  "dns-port-excluded": aSpec({ outbound: anOutbound({ excludePorts: [53], dns: { kind: "all", port: 15053 } }) }),
  "ipv4-only": aSpec({
    outbound: anOutbound({ dns: { kind: "all", port: 15053 } }),
    inbound: anInbound(),
    ipv6: false,
  }),
  "local-queries-captured": aSpec({
    outbound: anOutbound({ captureLocalDns: true, dns: { kind: "servers", servers: ["10.96.0.10"], port: 15053 } }),
  }),
  "owner-groups": aSpec({
    outbound: anOutbound({ ownerGroups: { kind: "only", groups: [1000, 1001] }, dns: { kind: "all", port: 15053 } }),
    proxy: { uids: [1337, 1338], gids: [1339, 1340], external: false },
  }),
  "owner-groups-excluded": aSpec({ outbound: anOutbound({ ownerGroups: { kind: "all-except", groups: [888, 999] } }) }),
  "owner-groups-none": aSpec({ outbound: anOutbound({ ownerGroups: { kind: "only", groups: [] } }) }),
  "behind-the-pod": aSpec({
    outbound: anOutbound({ excludePorts: [22], excludeCidrs: [{ address: "10.9.0.0", prefixLength: 16 }] }),
    inbound: anInbound(),
    interfaces: { exclude: ["net1"], reroute: ["k6t-eth0", "vm0"] },
    dropInvalid: true,
  }),
  "proxy-by-cgroup": aSpec({
    outbound: anOutbound(),
    proxy: { cgroup: '/sys/fs/cgroup/unified/proxy "one"', uids: [], gids: [], external: true },
  }),
};

describe("render", () => {
  it.each(Object.keys(cases))("writes the rules of %s", (name) => {
    const spec = cases[name];
    if (!spec) throw new Error(name);
    const planned = plan(spec, facts);
    const text = `# iptables-restore --noflush\n${restoreText(planned, 4)}# ip6tables-restore --noflush\n${restoreText(planned, 6)}`;
    expectGolden(import.meta.dirname, name, text);
  });

  it.each(["external-sidecar-with-dns", "exec-cgroup", "behind-the-pod"])("writes the guard of %s", (name) => {
    const planned = plan(cases[name] ?? aSpec(), facts);
    const guarded = ([4, 6] as const).map((family) =>
      renderTransition(emptyRules(), withGuard(emptyRules(), planned, family)),
    );
    expectGolden(import.meta.dirname, `guard-${name}`, guarded.join(""));
  });
});
