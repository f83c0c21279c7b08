// SPDX-License-Identifier: Apache-2.0
/** The contents of the maps as lines that people read and that compare. Pure. */
import { ownerFlag, workloadFlag } from "../../bpf/generated/types.ts";
import type { Rendered } from "../backend.ts";
import type { Hook } from "./hooks.ts";
import type { EbpfPlan } from "./plan.ts";

/** The row of `workloads` that a plan leads to, one line a field; what only the machine knows is left out. */
export function rowLines(row: EbpfPlan["workload"]): string[] {
  const { flags, proxyMark, proxyMarkMask, preserveMark, preserveMarkMask, ...rest } = row;
  const mark = (value: number, mask: number): string => `0x${value.toString(16)}/0x${mask.toString(16)}`;
  return [
    `flags: ${flagNames(flags, workloadFlag)}`,
    `proxyMark: ${mark(proxyMark, proxyMarkMask)}`,
    `preserveMark: ${mark(preserveMark, preserveMarkMask)}`,
    ...Object.entries(rest).map(([field, value]) => `${field}: ${String(value).replaceAll(",", " ")}`),
  ];
}

export function portLine({ direction, action, port }: EbpfPlan["ports"][number]): string {
  return `${direction} ${action} ${port}`;
}

export function cidrLine({ key, covers }: EbpfPlan["cidrs"][number]): string {
  return `${key.kind} ${key.address} prefix ${key.prefixLength}${covers ? "" : " (taken out)"}`;
}

export function ownerLine({ key, flags }: EbpfPlan["owners"][number]): string {
  return `${key.kind} ${key.id}: ${flagNames(flags, ownerFlag)}`;
}

/** Maps in the order in which they are written, then the programs in the order in which they are attached. */
export function render(plan: EbpfPlan, hooks: readonly Hook[]): readonly Rendered[] {
  const parts: readonly (readonly [title: string, lines: readonly string[]])[] = [
    ["map ports", plan.ports.map(portLine)],
    ["map cidrs", plan.cidrs.map(cidrLine)],
    ["map owners", plan.owners.map(ownerLine)],
    ["map workloads", rowLines(plan.workload)],
    ["programs", [...(plan.workload.inboundPort === 0 ? [] : ["inbound"]), ...hooks.map(({ program }) => program)]],
  ];
  return parts
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => ({ title, command: [], text: lines.map((line) => `${line}\n`).join("") }));
}

function flagNames(bits: number, names: Readonly<Record<string, number>>): string {
  const set = Object.entries(names).filter(([, bit]) => (bits & bit) !== 0);
  return set.map(([name]) => name).join(" ") || "none";
}
