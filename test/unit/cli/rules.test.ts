// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RulesOptions } from "../../../src/config/command-options.ts";
import type { RulesReport, WorkloadReport } from "../../../src/config/formats/rules.ts";
import { shunt } from "../../support/cli-fixture.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-rules-`));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

async function asked(...argv: string[]): Promise<RulesOptions> {
  const { calls, err, status } = await shunt(["rules", ...argv]);
  expect(err).toBe("");
  expect(status).toBe(0);
  return calls[0]?.[1] as RulesOptions;
}

async function refused(...argv: string[]): Promise<string> {
  const { calls, err, status } = await shunt(["rules", ...argv]);
  expect(calls).toEqual([]);
  expect(status).toBe(2);
  return err.trimEnd();
}

describe("the workload of rules", () => {
  it("is a namespace with an unmodified proxy of the mesh's own user", async () => {
    const { action, workloads } = await asked("apply", "--netns", "blue", "--exclude-outbound-ports", "22");
    expect(action).toBe("apply");
    expect(workloads).toHaveLength(1);
    expect(workloads[0]).toMatchObject({
      byAgent: false,
      config: {
        name: "blue",
        target: { kind: "netns", path: "/run/netns/blue" },
        outbound: { port: 15_001, excludePorts: [22] },
        proxy: { external: true, uids: [1337], gids: [1337] },
      },
    });
  });

  it("has the proxy's user that is given and no other", async () => {
    const { workloads } = await asked("apply", "--pid", "7", "--proxy-uid", "9", "--name", "web");
    expect(workloads[0]?.config).toMatchObject({
      name: "web",
      target: { kind: "pid", pid: 7 },
      proxy: { uids: [9], gids: [] },
    });
  });

  it("is a pod whose annotations a flag goes before", async () => {
    const manifest = file(
      "pod.yaml",
      `kind: Pod
metadata:
  name: web-0
  annotations:
    traffic.sidecar.istio.io/includeInboundPorts: "80"
    traffic.sidecar.istio.io/excludeOutboundPorts: "22"
spec:
  containers:
    - {name: istio-proxy, securityContext: {runAsUser: 0, runAsGroup: 0}}
`,
    );
    const { workloads } = await asked("plan", "--netns", "blue", "--pod", manifest, "--exclude-outbound-ports", "443");
    expect(workloads[0]?.config).toMatchObject({
      name: "web-0",
      inbound: { includePorts: [80] },
      outbound: { excludePorts: [443] },
      proxy: { uids: [1337], gids: [1337] },
    });
  });

  it("is one of an agent's file, or all of them", async () => {
    const config = file("agent.yaml", "workloads:\n  - {name: a, netns: a}\n  - {name: b, netns: b}\n");
    const names = async (...more: string[]) =>
      (await asked("verify", "--config", config, ...more)).workloads.map((w) => [w.config.name, w.byAgent]);
    expect(await names()).toEqual([
      ["a", true],
      ["b", true],
    ]);
    expect(await names("--workload", "b")).toEqual([["b", true]]);
    expect(await refused("verify", "--config", config, "--workload", "c")).toContain(
      `--workload "c" is not in ${config} (it has: a, b)`,
    );
  });
});

describe("a wrong command line", () => {
  it.each([
    [["apply"], "no target: give --netns NS or --pid PID, or --config FILE"],
    [["apply", "--netns", "a", "--pid", "7"], "--netns a can't be used together with --pid"],
    [["apply", "--netns", "a", "--config", "x"], "--netns can't be used together with --config"],
    [["apply", "--netns", "a", "--workload", "x"], "--workload only together with --config"],
    [["apply", "--netns", "a", "--backend", "bpf"], '--backend "bpf" is not one of ebpf, iptables, tproxy, nftables'],
    [
      ["apply", "--netns", "a", "--backend", "ebpf", "--chain-prefix", "ISTIO"],
      "--chain-prefix ISTIO is for --backend iptables, not ebpf",
    ],
    [["plan", "--netns", "a", "--remove-leftovers"], "--remove-leftovers only with apply and verify, not with plan"],
    [
      ["apply", "--netns", "a", "--exclude-outbound-ports", "x"],
      '--exclude-outbound-ports "x" is not a list of ports such as 80,443',
    ],
    [["apply", "--netns", "a", "--exclude-outbound-cidrs", "10.0.0.300/8"], "--exclude-outbound-cidrs: "],
    [
      ["apply", "--netns", "a", "--annotation", "traffic.sidecar.istio.io/excludeInboundPorts=x"],
      '--annotation traffic.sidecar.istio.io/excludeInboundPorts: "x" is not a list of ports',
    ],
    [["repair", "--netns", "a"], 'ACTION "repair" is not one of plan, apply, verify, remove, validate'],
    [["apply", "--netns", "a", "--pod", "/nowhere/pod.yaml"], "--pod /nowhere/pod.yaml: cannot be read: ENOENT"],
  ])("%j is refused with a reason, and nothing is done", async (argv, reason) => {
    expect(await refused(...argv)).toContain(reason);
  });
});

describe("the report", () => {
  const base = { name: "blue", target: "netns:/run/netns/blue", backend: "iptables", warnings: ["slow"] } as const;
  const run = (report: Omit<WorkloadReport, keyof typeof base>, ...argv: string[]) =>
    shunt(["rules", "verify", "--netns", "blue", ...argv], {
      actions: {
        rules: async ({ action }): Promise<RulesReport> => ({
          action,
          workloads: [{ ...base, ...report, warnings: [...base.warnings] }],
        }),
      },
    });

  it("tells drift line by line and ends with 1", async () => {
    const drift = [
      {
        family: 4 as const,
        table: "nat",
        chain: "X",
        kind: "changed" as const,
        expected: ["-A a", "-A b"],
        actual: ["-A b", "-A c"],
      },
    ];
    const { out, err, status } = await run({ outcome: "drifted", drift });
    expect(out).toBe(
      "blue (netns:/run/netns/blue), iptables: differs from the plan\n  changed: IPv4 nat X\n    - -A a\n    + -A c\n",
    );
    expect(err).toBe("blue: warning: slow\n");
    expect(status).toBe(1);
  });

  it("ends with 126 when connections pass by the proxy", async () => {
    const connections = [
      { direction: "outbound" as const, family: 6 as const, to: "::2 port 80", ok: false, reason: "ETIMEDOUT" },
    ];
    const { out, status } = await run({ outcome: "invalid", connections });
    expect(out).toContain("outbound, IPv6, to ::2 port 80: not intercepted: ETIMEDOUT\n");
    expect(status).toBe(126);
  });

  it("ends with 1 and says why when one failed", async () => {
    const { err, status } = await run({ outcome: "failed", reason: "no such namespace" });
    expect(err).toContain("blue: no such namespace\n");
    expect(status).toBe(1);
  });

  it("is JSON on request", async () => {
    const { out, status } = await run({ outcome: "as-planned", drift: [] }, "--format", "json");
    expect(JSON.parse(out)).toEqual({ action: "verify", workloads: [{ ...base, outcome: "as-planned", drift: [] }] });
    expect(status).toBe(0);
  });
});
