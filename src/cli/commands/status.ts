// SPDX-License-Identifier: Apache-2.0
import type { StatusReport, WorkloadStatus } from "../../config/formats/status.ts";
import { formatDuration } from "../../util/duration.ts";
import { agentAddress, askAgent } from "../admin-client.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { Invocation } from "../parse-arguments.ts";
import { formatTable } from "../table.ts";

export async function runStatus({ options }: Invocation, io: CliIo): Promise<number> {
  const report = await askAgent<StatusReport>(agentAddress(options), "/status", io.signal);
  io.stdout.write(options.has("--json") ? `${JSON.stringify(report, null, 2)}\n` : formatStatus(report));
  return EXIT.ok;
}

function formatStatus({ agent, acceleration, workloads, workers, hostAdditions }: StatusReport): string {
  const uptime = formatDuration(Math.floor(agent.uptimeSeconds) * 1000);
  const state = agent.ready ? "ready" : "not ready";
  const sections = [
    `agent ${agent.name} (process ${agent.pid}, version ${agent.version}) ${state}, up ${uptime}, mode ${agent.mode}: ${agent.reason}\n`,
    ...(acceleration.state === "idle" ? [] : [`acceleration ${acceleration.state}: ${acceleration.reason}\n`]),
    formatTable(
      ["WORKLOAD", "TARGET", "OUTBOUND", "INBOUND", "FAIL MODE", "ACTIVE", "TOTAL", "NOT INTERCEPTED", "LISTENERS"],
      workloads.map(workloadRow),
    ),
    ...workloads.flatMap(({ name, problem }) => (problem === undefined ? [] : [`${name}: ${problem}\n`])),
    ...workloads.flatMap(({ name, foreignRules = [] }) =>
      foreignRules.length === 0
        ? []
        : [`${name}: another interceptor has rules in the namespace (${foreignRules.length}): ${foreignRules[0]}\n`],
    ),
    ...workloads.flatMap(({ name, packetPolicies = [] }) => {
      const [first] = packetPolicies;
      return first === undefined
        ? []
        : [
            `${name}: packets meet policies (${packetPolicies.length}), none goes direct: ${first.kind}, ${first.where}\n`,
          ];
    }),
    formatTable(["WORKLOAD", "DIRECTION", "REASON", "VERDICTS"], workloads.flatMap(counterRows)),
    formatTable(
      ["WORKER", "STATE", "CONNECTIONS", "RESTARTS"],
      workers.map(({ id, state: now, connections, restarts }) => [
        String(id),
        now,
        String(connections),
        String(restarts),
      ]),
    ),
  ];
  if (hostAdditions.length > 0) {
    const rows = hostAdditions.map(({ kind, family, netns, text }) => [kind, family ?? "", netns ?? "", text]);
    sections.push(formatTable(["ADDED", "FAMILY", "NAMESPACE", "WHAT"], rows));
  }
  return sections.join("\n");
}

function workloadRow(workload: WorkloadStatus): string[] {
  return [
    workload.name,
    workload.target,
    workload.outbound,
    workload.inbound,
    workload.failMode,
    String(workload.connections.active),
    String(workload.connections.total),
    String(workload.notIntercepted),
    workload.listeners.map(({ direction, address }) => `${direction} ${address}`).join(", "),
  ];
}

function counterRows({ name, counters }: WorkloadStatus): string[][] {
  return (["outbound", "inbound"] as const).flatMap((direction) =>
    Object.entries(counters[direction])
      .filter(([, count]) => count > 0)
      .map(([reason, count]) => [name, direction, reason, String(count)]),
  );
}
