// SPDX-License-Identifier: Apache-2.0
import type { MetricFamily, MetricSample } from "../admin/prometheus.ts";
import { contractMetrics } from "./acceleration-contract.ts";
import type { Agent } from "./agent.ts";

/** Every family the agent exports; docs/metrics.md lists them. */
export function agentMetrics(agent: Agent, ready: boolean): MetricFamily[] {
  const stats = agent.pool.stats();
  const workers = agent.pool.workers();
  return [
    gauge("shunt_ready", "1 when traffic is intercepted as configured.", [{ value: ready ? 1 : 0 }]),
    gauge(
      "shunt_workload_info",
      "1 for every intercepted workload, with the mode that was chosen.",
      [...agent.workloads.values()].map((w) => ({
        labels: { workload: w.config.name, mode: w.selected.mode },
        value: 1,
      })),
    ),
    counter(
      "shunt_verdicts_total",
      "Decisions of the eBPF programs and of nftables rules, by workload, direction and reason.",
      verdicts(agent),
    ),
    counter(
      "shunt_drift_total",
      "Differences found between what should be in force and what was, by workload.",
      [...agent.workloads.values()].map(({ config, drift }) => ({
        labels: { workload: config.name },
        value: drift?.found ?? 0,
      })),
    ),
    gauge("shunt_connections_active", "Connections the proxy carries now.", [{ value: stats.active }]),
    counter("shunt_connections_total", "Connections the proxy has accepted.", [{ value: stats.total }]),
    counter(
      "shunt_connections_ended_total",
      "Connections that have ended, by outcome.",
      Object.entries(stats.outcomes).map(([outcome, value]) => ({ labels: { outcome }, value })),
    ),
    counter("shunt_bytes_sent_total", "Bytes sent to downstreams, counted when their connection ends.", [
      { value: stats.bytesSent },
    ]),
    counter("shunt_bytes_received_total", "Bytes received from downstreams, counted when their connection ends.", [
      { value: stats.bytesReceived },
    ]),
    gauge("shunt_acceleration_on", "1 while connections may be accelerated.", [
      { value: agent.acceleration.state.state === "on" ? 1 : 0 },
    ]),
    contractMetrics(agent.acceleration.contract),
    counter(
      "shunt_accelerated_connections_total",
      "Connections that have ended, by the way of their bytes and what kept them from a faster one.",
      stats.accelerated.map(({ connections, ...labels }) => ({ labels: { ...labels }, value: connections })),
    ),
    counter(
      "shunt_acceleration_withdrawn_total",
      "Programs that had left redirected bytes unread while they ran, and get no more.",
      [{ value: agent.acceleration.withdrawals }],
    ),
    gauge(
      "shunt_worker_running",
      "0 while a worker thread is being replaced.",
      workers.map((w) => ({ labels: { worker: w.index }, value: w.running ? 1 : 0 })),
    ),
    counter(
      "shunt_worker_restarts_total",
      "Replacements of a worker thread.",
      workers.map((w) => ({ labels: { worker: w.index }, value: w.restarts })),
    ),
  ];
}

function verdicts(agent: Agent): MetricSample[] {
  const samples: MetricSample[] = [];
  for (const workload of agent.workloads.values()) {
    const counters = workload.selected.interception.counters();
    for (const direction of ["outbound", "inbound"] as const) {
      for (const [reason, value] of Object.entries(counters?.[direction] ?? {})) {
        samples.push({ labels: { workload: workload.config.name, direction, reason }, value });
      }
    }
  }
  return samples;
}

function gauge(name: string, help: string, samples: readonly MetricSample[]): MetricFamily {
  return { name, help, type: "gauge", samples };
}

function counter(name: string, help: string, samples: readonly MetricSample[]): MetricFamily {
  return { name, help, type: "counter", samples };
}
