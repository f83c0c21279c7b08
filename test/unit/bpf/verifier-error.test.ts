// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { countCpus } from "../../../src/bpf/possible-cpus.ts";
import { lastMeaningfulLine, VerifierError } from "../../../src/bpf/verifier-error.ts";

const LOG = `0: R1=ctx() R10=fp0
0: (61) r0 = *(u32 *)(r1 +200)
invalid bpf_context access off=200 size=4
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

`;

describe("a verifier error", () => {
  it("ends with the line that says why, and keeps the whole log", () => {
    const error = new VerifierError("outbound", LOG);
    expect(error.message).toBe("outbound: invalid bpf_context access off=200 size=4");
    expect(error.code).toBe("ERR_BPF_VERIFIER");
    expect(error.log).toBe(LOG);
  });

  it("has libbpf's first warning where the verifier was never asked", () => {
    const log = "libbpf: map 'x': failed to create: Operation not permitted(-1)\nlibbpf: failed to load object 'o'\n";
    expect(lastMeaningfulLine(log)).toBe("map 'x': failed to create: Operation not permitted(-1)");
  });
});

describe("possible CPUs", () => {
  it.each([
    ["0\n", 1],
    ["0-3\n", 4],
    ["0,2-3,8-9\n", 5],
  ])("of %j are %i", (list, count) => {
    expect(countCpus(list)).toBe(count);
  });
});
