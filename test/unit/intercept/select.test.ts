// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { Interception } from "../../../src/intercept/backend.ts";
import { plan } from "../../../src/intercept/ebpf/plan.ts";
import { type Apply, selectInterception } from "../../../src/intercept/select.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { anInbound, anOutbound, aSpec } from "./iptables/iptables-specs.ts";

/** In force, for all that the choice looks at. */
const inForce = { backend: "ebpf", async remove() {}, [Symbol.dispose]() {} } as Partial<Interception> as Interception;
const ebpf: Apply = async (spec) => {
  plan(spec);
  return inForce;
};
const choose = (changes: Partial<InterceptSpec>) =>
  selectInterception(
    "auto",
    aSpec({ outbound: anOutbound(), inbound: anInbound(), ...changes }),
    ebpf,
    async () => inForce,
  );

describe("the mode that auto takes", () => {
  it("is ebpf for what the hooks can do", async () => {
    expect(await choose({ interfaces: { exclude: ["net1"], reroute: [] } })).toMatchObject({
      mode: "ebpf",
      reason: "",
    });
  });

  it("is rules where a machine behind the pod is rerouted, and says which field wants it", async () => {
    const { mode, reason } = await choose({ interfaces: { exclude: [], reroute: ["net1"] } });
    expect(mode).toBe("iptables");
    expect(reason).toMatch(/^ebpf: web: interfaces\.reroute: net1: .*; mixed: web: interfaces\.reroute: net1: /);
  });

  it("is mixed where invalid packets are dropped: they arrive", async () => {
    const { mode, reason } = await choose({ dropInvalid: true });
    expect(mode).toBe("mixed");
    expect(reason).toContain("dropInvalid: ");
  });

  it("refuses what was asked for by name and cannot be", async () => {
    await expect(selectInterception("ebpf", aSpec({ dropInvalid: true }), ebpf, ebpf)).rejects.toThrow("dropInvalid");
  });
});
