// SPDX-License-Identifier: Apache-2.0
import type { AdminSource } from "../admin/admin-source.ts";
import { UnknownWorkloadError } from "../admin/admin-source.ts";
import type { MetricFamily } from "../admin/prometheus.ts";
import type { ExplainQuery, Explanation } from "../config/formats/explanation.ts";
import type { Flow } from "../config/formats/flow.ts";
import type { StatusReport } from "../config/formats/status.ts";
import type { AgentConfig } from "../config/model.ts";
import { readRoutes } from "../intercept/routes.ts";
import type { ConnectionRecord } from "../proxy/connection-record.ts";
import type { BegunConnection, ConnectionBytes } from "../proxy/open-connection.ts";
import type { Agent } from "./agent.ts";
import { agentMetrics } from "./agent-metrics.ts";
import { agentStatus } from "./agent-status.ts";
import { explain } from "./explain.ts";
import { refreshCounters } from "./fresh-counters.ts";

/** What the admin server tells of a running agent. */
export class AgentAdmin implements AdminSource {
  #config: AgentConfig;
  #agent: Agent | undefined;
  #ready = false;
  #problems: ReadonlyMap<string, Error> = new Map();
  readonly #followers = new Set<(flow: Flow) => void>();

  constructor(config: AgentConfig) {
    this.#config = config;
  }

  attach(agent: Agent): void {
    this.#agent = agent;
  }

  setReady(): void {
    this.#ready = true;
  }

  /** A reload came; `problems` are the workloads it could not bring into force. */
  configure(config: AgentConfig, problems: ReadonlyMap<string, Error>): void {
    this.#config = config;
    this.#problems = problems;
  }

  opened(connection: BegunConnection): void {
    if (this.#followers.size > 0) this.#tell(openFlow(connection));
  }

  ended(record: ConnectionRecord): void {
    if (this.#followers.size > 0) this.#tell({ ...record, state: "closed" });
  }

  async metrics(): Promise<readonly MetricFamily[]> {
    const agent = this.#running();
    await refreshCounters(agent);
    return agentMetrics(agent, this.#ready);
  }

  ready(): { readonly ready: boolean; readonly reason: string } {
    const waiting = this.#agent?.pool.workers().filter((worker) => !worker.running).length ?? 0;
    if (!this.#ready) return { ready: false, reason: "starting" };
    if (waiting > 0) return { ready: false, reason: `${waiting} workers are being replaced` };
    const [name, error] = [...this.#problems][0] ?? [];
    if (error) return { ready: false, reason: `workload ${name}: ${error.message}` };
    for (const workload of this.#agent?.workloads.values() ?? []) {
      const problem = workload.targetProblem;
      if (problem !== undefined) return { ready: false, reason: `workload ${workload.config.name}: ${problem}` };
      const drift = workload.drift?.problem;
      if (drift !== undefined) return { ready: false, reason: `workload ${workload.config.name}: drift: ${drift}` };
    }
    return { ready: true, reason: "traffic is intercepted" };
  }

  config(): AgentConfig {
    return this.#config;
  }

  async status(): Promise<StatusReport> {
    const agent = this.#running();
    await refreshCounters(agent);
    return agentStatus(agent, this.#config, this.ready(), this.#problems);
  }

  async flows(): Promise<readonly Flow[]> {
    return (await this.#running().pool.carriedConnections()).map(openFlow);
  }

  follow(listener: (flow: Flow) => void): () => void {
    this.#followers.add(listener);
    return () => this.#followers.delete(listener);
  }

  accelerate(on: boolean): StatusReport["acceleration"] {
    const { acceleration } = this.#running();
    acceleration.switchOff(!on);
    return acceleration.state;
  }

  explain(query: ExplainQuery): Explanation {
    const { workloads } = this.#running();
    const workload = workloads.get(query.workload);
    if (!workload) throw new UnknownWorkloadError(query.workload, [...workloads.keys()]);
    const { spec, netns, selected } = workload;
    const { interception } = selected;
    return explain(
      { spec, interception, localAddresses: netns.localAddresses(), routes: () => readRoutes(netns) },
      query,
    );
  }

  #running(): Agent {
    if (!this.#agent) throw new Error("the agent has not started");
    return this.#agent;
  }

  #tell(flow: Flow): void {
    for (const follower of this.#followers) follower(flow);
  }
}

/** One that has just begun has carried nothing. */
function openFlow(connection: BegunConnection & Partial<ConnectionBytes>): Flow {
  return {
    id: connection.id,
    state: "open",
    time: connection.time,
    workload: connection.workload,
    direction: connection.direction,
    source: connection.source,
    originalDestination: connection.originalDestination,
    upstream: connection.upstream,
    interception: connection.interception,
    bytesSent: connection.bytesSent ?? 0,
    bytesReceived: connection.bytesReceived ?? 0,
    ...(connection.acceleration && { acceleration: connection.acceleration }),
    durationMs: Math.max(0, Date.now() - Date.parse(connection.time)),
  };
}
