// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { AgentConfig } from "../../../src/config/model.ts";
import { parseAgentConfig, parseExecConfig } from "../../../src/config/parse.ts";

function problems(text: string): string[] {
  const parsed = parseAgentConfig(text, "agent.yaml");
  return parsed.ok ? [] : parsed.problems.map((problem) => problem.text);
}

function config(text: string): AgentConfig {
  const parsed = parseAgentConfig(text, "agent.yaml");
  if (!parsed.ok) throw new Error(parsed.problems.map((problem) => problem.text).join("\n"));
  return parsed.value;
}

describe("a configuration", () => {
  it("that says nothing but whose traffic gets Istio's defaults", () => {
    const parsed = config("workloads: [{name: a, netns: blue}]");
    expect(parsed).toMatchObject({ name: "default", mode: "auto", workers: 2, logLevel: "info", logFormat: "text" });
    expect(parsed.proxy).toEqual({ connectTimeoutMs: 10_000, idleTimeoutMs: 3_600_000 });
    expect(parsed.workloads[0]).toMatchObject({
      target: { kind: "netns", path: "/run/netns/blue" },
      outbound: {
        enabled: true,
        port: 15001,
        includeCidrs: "all",
        captureLoopback: false,
        dns: { capture: "off", port: 15053 },
      },
      inbound: {
        enabled: true,
        port: 15006,
        includePorts: "all",
        excludePorts: [15020, 15021, 15090],
        preserveSource: false,
      },
      proxy: { external: false },
      failMode: "deny",
    });
  });

  it("gives each workload the agent's mode, unless it has one of its own", () => {
    const { mode, workloads } = config(
      "mode: nftables\nworkloads: [{name: a, netns: a}, {name: b, netns: b, mode: tproxy}]",
    );
    expect([mode, ...workloads.map((workload) => workload.mode)]).toEqual(["nftables", "nftables", "tproxy"]);
  });

  it("refuses a mode that could not do what a workload asks for on any machine", () => {
    const text = `mode: ebpf
workloads:
  - {name: a, netns: a, dropInvalid: true}
  - {name: b, netns: b, mode: mixed, dropInvalid: true, interfaces: {reroute: [vnet0]}}
  - {name: c, netns: c, mode: iptables, dropInvalid: true, interfaces: {reroute: [vnet0]}}`;
    expect(problems(text)).toEqual([
      "agent.yaml:3: workloads[0].dropInvalid: needs a mode with rules, and this is ebpf",
      "agent.yaml:4: workloads[1].interfaces.reroute: needs a mode with rules, and this is mixed",
    ]);
  });

  it("is plain data: it survives JSON", () => {
    const parsed = config(
      "admin: 9000\nrecord: r\nworkloads: [{name: a, netns: b, outbound: {excludeCidrs: [10.1.2.3/8, '::1']}}]",
    );
    expect(JSON.parse(JSON.stringify(parsed))).toEqual(parsed);
    expect(parsed.workloads[0]?.outbound.excludeCidrs).toEqual([
      { address: "10.0.0.0", prefixLength: 8 },
      { address: "::1", prefixLength: 128 },
    ]);
    expect(parsed.admin).toEqual({ address: "127.0.0.1", port: 9000 });
  });

  it("may say which namespace the processes of a cgroup are in", () => {
    const { workloads } = config("workloads: [{name: a, cgroup: x/y, netns: blue}, {name: b, netns: blue}]");
    expect(workloads.map(({ target }) => target)).toEqual([
      { kind: "cgroup", path: "x/y", netns: "/run/netns/blue" },
      { kind: "netns", path: "/run/netns/blue" },
    ]);
  });

  it("always excludes the ports of Istio's probes, beside those it lists", () => {
    const { workloads } = config("workloads: [{name: a, netns: b, inbound: {excludePorts: [9, 22, 9]}}]");
    expect(workloads[0]?.inbound.excludePorts).toEqual([9, 22, 15020, 15021, 15090]);
  });

  it("takes an unmodified sidecar for user and group 1337 unless it says who the proxy is", () => {
    const { workloads } = config(`workloads:
      - {name: a, netns: a, proxy: {external: true}}
      - {name: b, netns: b, proxy: {external: true, mark: 0x10/0xf0}}`);
    expect(workloads.map(({ proxy }) => proxy)).toEqual([
      { external: true, uids: [1337], gids: [1337] },
      { external: true, mark: { value: 0x10, mask: 0xf0 }, uids: [], gids: [] },
    ]);
  });

  it("may share fields between workloads by anchors and merges", () => {
    const { workloads } = config(`workloads:
      - &base {name: a, netns: a, outbound: {excludePorts: [22]}}
      - {<<: *base, name: b, netns: b}`);
    expect(workloads.map(({ name, outbound }) => [name, outbound.excludePorts])).toEqual([
      ["a", [22]],
      ["b", [22]],
    ]);
  });

  it("is decided by the command line where both speak", () => {
    const parsed = parseAgentConfig("mode: ebpf\nworkers: 3\nworkloads: []", "f", {
      mode: "iptables",
      workers: undefined,
    });
    expect(parsed).toMatchObject({ ok: true, value: { mode: "iptables", workers: 3 } });
  });
});

describe("every problem of a configuration is told at once", () => {
  it("with file, line, field, value and what is allowed", () => {
    const text = `mode: ebfp
workers: 0
proxy: {connectTimeout: 10, idleTimeout: 30d}
workloads:
  - name: a
    netns: ../b
    outbound:
      excludePorts:
        - 22
        - 70000
      includeCidrs: 10.0.0.0/8
    failMode: open
`;
    expect(problems(text)).toEqual([
      'agent.yaml:1: mode: "ebfp" is not one of auto, ebpf, mixed, iptables, tproxy, nftables',
      "agent.yaml:2: workers: 0 is not a number of worker threads (1 … 256)",
      "agent.yaml:3: proxy.connectTimeout: 10 is not a duration such as 500ms, 10s or 1h30m, more than 0s",
      'agent.yaml:3: proxy.idleTimeout: "30d" is not a duration such as 500ms, 10s or 1h30m, up to 576h',
      'agent.yaml:6: workloads[0].netns: "../b" is not a name under /run/netns or an absolute path',
      "agent.yaml:10: workloads[0].outbound.excludePorts[1]: 70000 is not a port (1 … 65535)",
      'agent.yaml:11: workloads[0].outbound.includeCidrs: "10.0.0.0/8" is not "*" or a list of address ranges',
      'agent.yaml:12: workloads[0].failMode: "open" is not one of deny, direct',
    ]);
  });

  it.each([
    ["nam: x\nworkloads: []", "agent.yaml:1: nam: unknown field, did you mean name?"],
    [
      "workloads: [{name: a, netns: b, outbound: {exludePorts: [1]}}]",
      "agent.yaml:1: workloads[0].outbound.exludePorts: unknown field, did you mean excludePorts?",
    ],
    [
      "workloads: [{name: a, netns: b, outbound: {dns: {zzzzz: 1}}}]",
      "agent.yaml:1: workloads[0].outbound.dns.zzzzz: unknown field (known: capture, port, servers)",
    ],
    ["workloads: []\n__proto__: {a: 1}", expect.stringMatching(/^agent\.yaml:2: __proto__: unknown field/)],
  ])("%j has an unknown field", (text, problem) => {
    expect(problems(text)).toEqual([problem]);
  });

  it.each([
    ["", "agent.yaml: is empty, and workloads is required"],
    ["mode: auto", "agent.yaml:1: workloads: is missing"],
    ["[]", "agent.yaml:1: [] is not a mapping of fields"],
    ["workloads: 5", "agent.yaml:1: workloads: 5 is not a list of workloads"],
    ["workloads: [7]", "agent.yaml:1: workloads[0]: 7 is not a mapping of fields"],
    ["workloads:\n  - netns: b", "agent.yaml:2: workloads[0].name: is missing"],
    ["workloads: [{name: a}]", "agent.yaml:1: workloads[0]: names no target (one of netns, pid, cgroup)"],
    ["workloads: [{name: a, pid: 0}]", "agent.yaml:1: workloads[0].pid: 0 is not a process id (1 … 4194304)"],
    ["a: 1\na: 2", "agent.yaml:2: Map keys must be unique"],
    ["admin: '[::1]:99999'\nworkloads: []", expect.stringContaining('admin: "[::1]:99999" is not ADDRESS:PORT')],
    ["name: a/b\nworkloads: []", expect.stringContaining('name: "a/b" is not a name (')],
    [
      "workloads: [{name: a, netns: b, outbound: {includeCidrs: ['*', 10.0.0.0/8]}}]",
      `agent.yaml:1: workloads[0].outbound.includeCidrs[0]: "*" stands for all and can't be listed with others`,
    ],
    [
      "workloads: [{name: a, netns: b, outbound: {dns: {capture: all, servers: [10.0.0.1]}}}]",
      "agent.yaml:1: workloads[0].outbound.dns.servers: has no effect with capture: all (only with resolv.conf)",
    ],
    [
      "workloads: [{name: a, netns: b, outbound: {port: 15006}}]",
      "agent.yaml:1: workloads[0].inbound.port: 15006 is outbound.port already, and two listeners can't share a port",
    ],
    [
      "workloads: [{name: a, netns: b, proxy: {mark: 0x77}, inbound: {preserveSource: true}}]",
      expect.stringContaining("workloads[0].proxy.mark: can't be used together with inbound.preserveSource: "),
    ],
    [
      "workloads: [{name: a, netns: b, proxy: {mark: 0x10/0x1}}]",
      expect.stringContaining('workloads[0].proxy.mark: "0x10/0x1" is not a mark'),
    ],
  ])("%j", (text, problem) => {
    expect(problems(text)).toEqual([problem]);
  });

  it("names and targets given twice, however they are written, even beside other mistakes", () => {
    const text = `workloads:
  - {name: a, netns: blue}
  - {name: a, netns: /var/run/netns/blue, failMode: 7}
  - {name: b, cgroup: x/y/}
  - {name: c, cgroup: x//y}
  - {name: d, pid: 7, cgroup: z}
  - {name: e, pid: 8, netns: n, cgroup: z}
  - {name: f, cgroup: x/y, netns: blue}
  - {name: g, cgroup: x/../y, netns: blue}
`;
    expect(problems(text)).toEqual([
      "agent.yaml:3: workloads[1].failMode: 7 is not one of deny, direct",
      'agent.yaml:3: workloads[1].name: "a" is the name of workloads[0] already',
      "agent.yaml:3: workloads[1].netns: netns:/run/netns/blue is the target of workloads[0] already",
      "agent.yaml:5: workloads[3].cgroup: cgroup:x/y is the target of workloads[2] already",
      "agent.yaml:6: workloads[4].cgroup: a workload has one target, and pid is given too",
      "agent.yaml:7: workloads[5].pid: a workload has one target, and netns is given too",
      "agent.yaml:7: workloads[5].cgroup: cgroup:z is the target of workloads[4] already",
      "agent.yaml:8: workloads[6].cgroup: cgroup:x/y is the target of workloads[2] already",
      expect.stringContaining('agent.yaml:9: workloads[7].cgroup: "x/../y" is not a cgroup directory'),
    ]);
  });

  it("and aliases that multiply beyond measure are refused, not followed", () => {
    const rows = Array.from({ length: 12 }, (_, i) => `k${i + 1}: &k${i + 1} [${Array(10).fill(`*k${i}`).join(",")}]`);
    expect(problems(`k0: &k0 [x]\n${rows.join("\n")}`)).toEqual([
      expect.stringMatching(/^agent\.yaml: Excessive alias count/),
    ]);
  });
});

describe("the file of exec", () => {
  const exec = (text: string, preset: "all" | "istio" = "all") => parseExecConfig(text, "x.yaml", preset);

  it("is a workload by itself, with the preset's defaults", () => {
    expect(exec("outbound: {excludePorts: [22]}")).toMatchObject({
      ok: true,
      value: {
        workload: { outbound: { excludePorts: [22], captureLoopback: true, port: 0 }, inbound: { enabled: false } },
      },
    });
    expect(exec("outbound: {excludePorts: [22]}", "istio")).toMatchObject({
      ok: true,
      value: { workload: { outbound: { captureLoopback: false, port: 15001 } } },
    });
  });

  it("or a whole file with one workload, whose target and name may be missing", () => {
    expect(exec("mode: iptables\nworkloads: [{netns: a}]")).toMatchObject({
      ok: true,
      value: { workload: { target: { kind: "netns", path: "/run/netns/a" } }, settings: { mode: "iptables" } },
    });
    expect(exec("workloads: [{}]")).toMatchObject({ ok: true });
    expect(exec("")).toMatchObject({ ok: true });
  });

  it.each([
    ["workloads: [{}, {}]", "x.yaml:1: workloads: 2 workloads, and exec takes exactly one"],
    ["outbond: {}", "x.yaml:1: outbond: unknown field, did you mean outbound?"],
    ["outbound: {port: -1}", "x.yaml:1: outbound.port: -1 is not a port (0 … 65535)"],
  ])("%j is refused", (text, problem) => {
    expect(exec(text)).toMatchObject({ ok: false, problems: [{ text: problem }] });
  });
});
