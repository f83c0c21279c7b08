// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import type { BackendName, InterceptionPart } from "../../../src/intercept/backend.ts";
import { partsOf } from "../../../src/intercept/composite.ts";
import { plan } from "../../../src/intercept/ebpf/plan.ts";
import { type Appliers, type RequestedMode, selectInterception } from "../../../src/intercept/select.ts";
import type { InterceptSpec } from "../../../src/intercept/spec.ts";
import { anInbound, anOutbound, aSpec } from "./iptables/iptables-specs.ts";

const both = aSpec({ outbound: anOutbound(), inbound: anInbound() });
const ALL: readonly BackendName[] = ["ebpf", "iptables", "tproxy", "nftables"];

/** A machine on which the listed back-ends work; `log` says what was tried, for which directions. */
class Machine {
  readonly log: string[] = [];
  readonly #working: readonly BackendName[];
  readonly #inbound: readonly BackendName[];

  constructor(working: readonly BackendName[], inbound: readonly BackendName[] = working) {
    this.#working = working;
    this.#inbound = inbound;
  }

  select(requested: RequestedMode, spec: InterceptSpec = both) {
    return selectInterception(requested, spec, this.appliers());
  }

  appliers(): Appliers {
    const applier = (backend: BackendName) => async (spec: InterceptSpec) => {
      const able = spec.inbound ? this.#inbound : this.#working;
      this.log.push(`${backend}${spec.outbound ? " out" : ""}${spec.inbound ? " in" : ""}`);
      if (!able.includes(backend)) throw new Error(`no ${backend} here`);
      return this.#interception(backend, spec);
    };
    return {
      ebpf: applier("ebpf"),
      iptables: applier("iptables"),
      tproxy: applier("tproxy"),
      nftables: applier("nftables"),
    };
  }

  #interception(backend: BackendName, spec: InterceptSpec): InterceptionPart {
    return {
      backend,
      spec,
      dependence: { outbound: "nothing", inbound: "nothing" },
      verify: async () => [],
      repair: async () => {},
      originalDestination: () => ({ kind: "conntrack" }),
      ownFlows: () => undefined,
      setInboundListener: () => {},
      setLocalAddresses: () => {},
      update: async () => {},
      counters: () => undefined,
      remove: async () => void this.log.push(`${backend} removed`),
      [Symbol.dispose]: () => {},
    };
  }
}

describe("the selection", () => {
  it.each(ALL)("is %s when that is asked for and works", async (mode) => {
    const selected = await new Machine([mode]).select(mode);
    expect(selected).toMatchObject({ mode, reason: "", interception: { backend: mode } });
  });

  it.each(ALL)("is not another one when %s is asked for and does not work", async (mode) => {
    const machine = new Machine(ALL.filter((other) => other !== mode));
    await expect(machine.select(mode)).rejects.toMatchObject({
      code: "ERR_INTERCEPT_IMPOSSIBLE",
      message: `${mode}: no ${mode} here`,
    });
    expect(machine.log).toEqual([`${mode} out in`]);
  });

  it("tries eBPF, mixed, iptables and nftables by itself, and never TPROXY", async () => {
    const machine = new Machine(["tproxy"]);
    await expect(machine.select("auto")).rejects.toThrow(
      "ebpf: no ebpf here; mixed: no ebpf here; iptables: no iptables here; nftables: no nftables here",
    );
    expect(machine.log).toEqual(["ebpf out in", "ebpf out", "iptables out in", "nftables out in"]);
    const selected = await new Machine(["nftables"]).select("auto");
    expect(selected).toMatchObject({ mode: "nftables", reason: expect.stringContaining("iptables: no iptables here") });
  });

  it("leaves mixed out where there is one direction only", async () => {
    const machine = new Machine(["iptables"]);
    const { inbound: _, ...outbound } = both;
    expect(await machine.select("auto", outbound)).toMatchObject({ mode: "iptables" });
    expect(machine.log).toEqual(["ebpf out", "iptables out"]);
  });

  it.each([
    [["iptables", "nftables"], "iptables"],
    [["nftables"], "nftables"],
  ] as const)("is mixed with %j inbound: %s", async (inbound, chosen) => {
    const { mode, interception } = await new Machine(["ebpf", ...inbound], inbound).select("auto");
    expect(mode).toBe("mixed");
    expect(partsOf(interception).map(({ backend }) => backend)).toEqual(["ebpf", chosen]);
  });

  it("takes the outbound half back when no rules take the inbound one", async () => {
    const machine = new Machine(["ebpf"], []);
    await expect(machine.select("mixed")).rejects.toThrow("mixed: no iptables here; no nftables here");
    expect(machine.log.at(-1)).toBe("ebpf removed");
  });
});

describe("the mode that auto takes", () => {
  const choose = (changes: Partial<InterceptSpec>, requested: RequestedMode = "auto") => {
    const machine = new Machine(ALL);
    const appliers: Appliers = {
      ...machine.appliers(),
      ebpf: async (spec) => {
        plan(spec);
        return machine.appliers().ebpf(spec);
      },
    };
    return selectInterception(requested, { ...both, ...changes }, appliers);
  };

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
    await expect(choose({ dropInvalid: true }, "ebpf")).rejects.toThrow("dropInvalid");
  });
});
