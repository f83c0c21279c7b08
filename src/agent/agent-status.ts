// SPDX-License-Identifier: Apache-2.0
import type { StatusReport, WorkloadStatus } from "../config/formats/status.ts";
import { type AgentConfig, formatTarget, type WorkloadConfig } from "../config/model.ts";
import { mechanismsOf } from "../intercept/mechanisms.ts";
import type { Agent } from "./agent.ts";
import { version } from "./version.ts";
import type { DriftRecord } from "./workload/drift-record.ts";
import type { Workload } from "./workload/workload.ts";

export async function agentStatus(
  agent: Agent,
  config: AgentConfig,
  ready: { readonly ready: boolean; readonly reason: string },
  problems: ReadonlyMap<string, Error>,
): Promise<StatusReport> {
  const workloads = [...agent.workloads.values()];
  const worst = workloads.find((w) => w.selected.mode !== "ebpf")?.selected ?? workloads[0]?.selected;
  const active = new Map<string, number>();
  for (const { workload } of agent.pool.connections()) active.set(workload, (active.get(workload) ?? 0) + 1);
  return {
    agent: {
      name: config.name,
      pid: process.pid,
      version,
      uptimeSeconds: (Date.now() - agent.startedAt.getTime()) / 1000,
      mode: worst?.mode ?? "none",
      reason: worst?.reason || ready.reason,
      ready: ready.ready,
    },
    acceleration: agent.acceleration.state,
    workloads: [
      ...(await Promise.all(
        workloads.map((workload) => {
          const { name } = workload.config;
          return workloadStatus(agent, workload, active.get(name) ?? 0, problems.get(name));
        }),
      )),
      ...config.workloads
        .filter(({ name }) => !agent.workloads.has(name))
        .map((wanted) => notInForce(wanted, agent.ended.get(wanted.name) ?? 0, problems.get(wanted.name))),
    ],
    workers: agent.pool.workers().map((worker) => ({
      id: worker.index,
      state: worker.running ? "running" : "lost",
      connections: worker.connections,
      restarts: worker.restarts,
    })),
    hostAdditions: workloads.flatMap((workload) =>
      workload.hostChanges.map((change) => ({
        kind: change.kind,
        family: change.family,
        netns: workload.netns.path,
        text: change.description,
      })),
    ),
  };
}

async function workloadStatus(
  agent: Agent,
  workload: Workload,
  active: number,
  problem: Error | undefined,
): Promise<WorkloadStatus> {
  const { config, spec, selected } = workload;
  const { mode, interception } = selected;
  const { outbound, inbound } = mechanismsOf(interception);
  const idle = spec.outbound || spec.inbound ? undefined : "neither direction is enabled: nothing is intercepted";
  const wrong = problem?.message ?? problemOf(workload) ?? idle;
  return {
    name: config.name,
    target: formatTarget(config.target),
    mode,
    outbound: spec.outbound ? outbound : "off",
    inbound: spec.inbound ? inbound : "off",
    failMode: config.failMode,
    listeners: workload.listeners.map(({ direction, protocol, address, port }) => ({
      direction,
      protocol,
      address: address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`,
    })),
    notIntercepted: await workload.existing.remaining(),
    counters: interception.counters() ?? { outbound: {}, inbound: {} },
    connections: { active, total: active + (agent.ended.get(config.name) ?? 0) },
    ...changesOf(workload),
    ...foreignRulesOf(agent, workload),
    ...packetPoliciesOf(agent, workload),
    ...(wrong === undefined ? {} : { problem: wrong }),
  };
}

function problemOf({ targetProblem, proxyProblem, drift }: Workload): string | undefined {
  return targetProblem ?? proxyProblem ?? drift?.problem;
}

/** What was not as it should be, and what is still there of before. */
function changesOf({ drift, outgoing }: Workload): Pick<WorkloadStatus, "drift" | "outgoing"> {
  return { ...(drift && { drift: driftOf(drift) }), ...(outgoing.length > 0 && { outgoing: [...outgoing] }) };
}

function foreignRulesOf({ foreignRules }: Agent, workload: Workload): Pick<WorkloadStatus, "foreignRules"> {
  const found = foreignRules.of(workload);
  return found.length > 0 ? { foreignRules: [...found] } : {};
}

function packetPoliciesOf({ acceleration }: Agent, { netns }: Workload): Pick<WorkloadStatus, "packetPolicies"> {
  const met = acceleration.policiesOf(netns);
  return met.length > 0 ? { packetPolicies: [...met] } : {};
}

function driftOf({ found, time, last, problem }: DriftRecord): WorkloadStatus["drift"] {
  return { found, time: time.toISOString(), last: [...last], repaired: problem === undefined };
}

/** A workload of the configuration that a reload could not begin: it is asked for, and must not look forgotten. */
function notInForce({ name, target, failMode }: WorkloadConfig, total: number, problem?: Error): WorkloadStatus {
  return {
    name,
    target: formatTarget(target),
    mode: "none",
    outbound: "off",
    inbound: "off",
    failMode,
    listeners: [],
    notIntercepted: 0,
    counters: { outbound: {}, inbound: {} },
    connections: { active: 0, total },
    problem: problem?.message ?? "not in force",
  };
}
