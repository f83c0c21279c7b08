// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { chooseModes } from "../../../../scripts/demo/choose-modes.ts";
import type { ProbeReport } from "../../../../src/config/formats/probe.ts";

function report(mode: ProbeReport["mode"], reason: string, features: ProbeReport["features"]): ProbeReport {
  return { mode, outbound: "", inbound: "", originalDestination: "", tier: null, reason, features };
}

const rules = { "iptables-nft": { ok: true }, "iptables-legacy": { ok: false, reason: "no such program" } };
const noRules = {
  "iptables-nft": { ok: false, reason: "refused" },
  "iptables-legacy": { ok: false, reason: "absent" },
};

describe("the modes of the demo", () => {
  it("are both where the kernel takes both", () => {
    expect(chooseModes(report("ebpf", "all there", rules))).toEqual({ modes: ["ebpf", "iptables"], excuses: [] });
  });

  it("are iptables alone where eBPF is not possible in both directions, with the probe's reason", () => {
    const { modes, excuses } = chooseModes(report("mixed", "eBPF inbound is not possible: sk-lookup (EINVAL)", rules));
    expect(modes).toEqual(["iptables"]);
    expect(excuses).toEqual(["eBPF mode is left out: eBPF inbound is not possible: sk-lookup (EINVAL)."]);
  });

  it("are eBPF alone where neither iptables works, with both reasons", () => {
    const { modes, excuses } = chooseModes(report("ebpf", "all there", noRules));
    expect(modes).toEqual(["ebpf"]);
    expect(excuses).toEqual(["iptables mode is left out: refused; absent."]);
  });

  it("are none where nothing works, with one sentence", () => {
    const excuses = ["The demo is not possible on this machine: nothing works."];
    expect(chooseModes(report("none", "nothing works", noRules))).toEqual({ modes: [], excuses });
  });
});
