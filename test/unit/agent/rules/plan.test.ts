// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { rules } from "../../../../src/agent/rules/rules.ts";
import { formatRules } from "../../../../src/cli/rules-text.ts";
import type { RulesOptions, RulesWorkload } from "../../../../src/config/command-options.ts";
import { RULES_BACKENDS, rulesSchema } from "../../../../src/config/formats/rules.ts";
import { checkAgentConfig } from "../../../../src/config/parse.ts";
import { expectCommitted } from "../../../support/committed-file.ts";

const SIDECAR = {
  outbound: {
    excludePorts: [22],
    includeCidrs: ["10.0.0.0/8", "fd00::/8"],
    excludeCidrs: ["10.1.0.0/16"],
    dns: { capture: "all" },
  },
  inbound: { excludePorts: [8443] },
  proxy: { external: true, uid: 1337, gid: 1337 },
};

function workload(fields: object = SIDECAR, byAgent = false): RulesWorkload {
  const parsed = checkAgentConfig({ workloads: [{ name: "web", netns: "web", ...fields }] }, () => ({ where: "test" }));
  const [config] = parsed.ok ? parsed.value.workloads : [];
  if (!config) throw new Error(JSON.stringify(parsed));
  return { config, byAgent, dualStack: false, warnings: [] };
}

function plan(workloads: readonly RulesWorkload[], more: Partial<RulesOptions> = {}) {
  const notes: string[] = [];
  const options: RulesOptions = {
    action: "plan",
    workloads,
    istioChains: false,
    removeLeftovers: false,
    onNote: (text) => void notes.push(text),
    signal: new AbortController().signal,
    ...more,
  };
  return rules(options).then((report) => ({ report, notes }));
}

describe("rules plan", () => {
  it.each(RULES_BACKENDS)("prints what %s would apply", async (backend) => {
    const { report } = await plan([workload()], { backend });
    expect(rulesSchema.parse(report)).toEqual(report);
    expectCommitted(`test/unit/agent/rules/golden/${backend}.golden`, formatRules(report));
  });

  it("prints Istio's own rules when asked for its chains", async () => {
    const { report } = await plan([workload()], { istioChains: true });
    expectCommitted("test/unit/agent/rules/golden/istio-chains.golden", formatRules(report));
  });

  it("says which back-end it has chosen, and why", async () => {
    const { report, notes } = await plan([workload()]);
    expect(notes).toEqual([expect.stringMatching(/^web: back-end (iptables|nftables): iptables is (not )?installed$/)]);
    expect(["iptables", "nftables"]).toContain(report.workloads[0]?.backend);
  });

  it("chooses tproxy for a pod that wants the client's address", async () => {
    const annotations = { "sidecar.istio.io/interceptionMode": "TPROXY" };
    const { report } = await plan([workload({ annotations, proxy: { external: true, uid: 0, gid: 1337 } })]);
    expect(report.workloads[0]?.backend).toBe("tproxy");
  });

  it("passes over what is to be passed over", async () => {
    const { report } = await plan([{ ...workload(), skip: "DISABLE_ENVOY" }]);
    expect(report.workloads).toEqual([
      { name: "web", target: "netns:/run/netns/web", warnings: [], outcome: "skipped", reason: "DISABLE_ENVOY" },
    ]);
  });
});

describe("what can't be planned", () => {
  it("is a free port, with the field's name", async () => {
    await expect(plan([workload({ inbound: { port: 0 } })])).rejects.toThrow(
      "web (netns:/run/netns/web): inbound.port: 0 is a free port, which only a running agent knows; give a port (1 … 65535)",
    );
  });

  it.each([
    [{ ...SIDECAR, proxy: { external: true, mark: "0x5" } }, "proxy.mark"],
    [{ ...SIDECAR, failMode: "direct" }, "failMode: direct"],
    [{ ...SIDECAR, inbound: { includeCidrs: ["10.0.0.0/8"] } }, "inbound.includeCidrs"],
    [{ ...SIDECAR, outbound: { captureLoopback: true } }, "outbound.captureLoopback"],
  ])("is %j by Istio's rules", async (fields, field) => {
    await expect(plan([workload(fields)], { istioChains: true })).rejects.toThrow(`Istio's rules can't do ${field}`);
  });

  it("stops everything before anything is done", async () => {
    const broken = workload({ ...SIDECAR, dropInvalid: true });
    await expect(plan([workload(), broken], { backend: "ebpf" })).rejects.toThrow("dropInvalid");
  });
});
