// SPDX-License-Identifier: Apache-2.0
import { cpus, loadavg, release, totalmem } from "node:os";
import type { Machine } from "./report.ts";

export function describeMachine(keptAwake: boolean): Machine {
  const all = cpus();
  return {
    kernel: release(),
    cpu: all[0]?.model.trim() ?? "unknown",
    cpus: all.length,
    memoryBytes: totalmem(),
    node: process.version,
    keptAwake,
    loadBefore: Number((loadavg()[0] ?? 0).toFixed(2)),
  };
}
