// SPDX-License-Identifier: Apache-2.0
import { type Maps, reasons } from "../../bpf/generated/types.ts";
import type { VerdictCounters } from "../backend.ts";

/** Adds the CPUs up and drops the zeroes. */
export function sumCounters(perCpu: Maps["verdicts"]["value"] | undefined): VerdictCounters {
  return { outbound: sum(perCpu, "outbound"), inbound: sum(perCpu, "inbound") };
}

function sum(perCpu: Maps["verdicts"]["value"] | undefined, direction: "outbound" | "inbound"): Record<string, number> {
  const total: Record<string, number> = {};
  reasons.forEach((reason, index) => {
    const count = (perCpu ?? []).reduce((n, cpu) => n + (cpu[direction][index] ?? 0n), 0n);
    if (count > 0n) total[reason] = Number(count);
  });
  return total;
}
