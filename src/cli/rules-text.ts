// SPDX-License-Identifier: Apache-2.0
/** The report of `rules` for people. */
import type { RulesReport, WorkloadReport } from "../config/formats/rules.ts";

const DONE: Readonly<Record<WorkloadReport["outcome"], string>> = {
  planned: "plan",
  applied: "applied",
  updated: "brought to the plan",
  unchanged: "unchanged",
  "as-planned": "as planned",
  drifted: "differs from the plan",
  removed: "removed",
  nothing: "nothing to remove",
  valid: "intercepted",
  invalid: "not intercepted",
  skipped: "skipped",
  failed: "failed",
};

export function formatRules(report: RulesReport): string {
  return report.workloads.map(formatWorkload).join(report.action === "plan" ? "\n" : "");
}

function formatWorkload(workload: WorkloadReport): string {
  const { name, target, backend, outcome, reason, removed = [] } = workload;
  const by = backend ?? removed.join(", ");
  const head = `${name} (${target})${by === "" ? "" : `, ${by}`}: ${DONE[outcome]}`;
  const lines = [
    reason === undefined ? head : `${head}: ${reason}`,
    ...(workload.drift ?? []).flatMap(driftLines),
    ...(workload.leftovers ?? []).map(
      ({ who, kind, what, where, removed: gone }) =>
        `  left over${gone ? ", removed" : ""}: ${kind} of ${who}: ${what} (${where})`,
    ),
    ...(workload.connections ?? []).map(connectionLine),
    ...(workload.untested ?? []).map((text) => `  not tested: ${text}`),
  ];
  const parts = (workload.parts ?? []).map(
    ({ title, command, text }) => `\n# ${title}${command.length === 0 ? "" : `: ${command.join(" ")}`}\n${text}`,
  );
  const comment = workload.parts === undefined ? lines : lines.map((line) => `# ${line}`);
  return `${comment.join("\n")}\n${parts.join("")}`;
}

function driftLines({
  family,
  table,
  chain,
  kind,
  expected,
  actual,
}: NonNullable<WorkloadReport["drift"]>[number]): string[] {
  return [
    `  ${kind}: ${family === undefined ? "" : `IPv${family} `}${table} ${chain}`,
    ...expected.filter((line) => !actual.includes(line)).map((line) => `    - ${line}`),
    ...actual.filter((line) => !expected.includes(line)).map((line) => `    + ${line}`),
  ];
}

function connectionLine({
  direction,
  family,
  to,
  ok,
  port,
  reason,
}: NonNullable<WorkloadReport["connections"]>[number]): string {
  const where = port === undefined ? "the proxy that runs" : `port ${port}`;
  return `  ${direction}, IPv${family}, to ${to}: ${ok ? `arrived at ${where}` : `not intercepted: ${reason}`}`;
}
