// SPDX-License-Identifier: Apache-2.0
import type { ExplainQuery, Explanation } from "../config/formats/explanation.ts";
import type { Flow } from "../config/formats/flow.ts";
import type { StatusReport } from "../config/formats/status.ts";
import type { AgentConfig } from "../config/model.ts";
import { ShuntError } from "../util/shunt-error.ts";
import type { MetricFamily } from "./prometheus.ts";

/** What the admin server asks the agent. Answers may take a while: the workers are asked in turn. */
export interface AdminSource {
  metrics(): Promise<readonly MetricFamily[]> | readonly MetricFamily[];
  /** `reason` says in words why not, or that all is well. */
  ready(): { readonly ready: boolean; readonly reason: string };
  /** The configuration in force, every default filled in. */
  config(): AgentConfig;
  status(): Promise<StatusReport> | StatusReport;
  /** Connections open now. */
  flows(): Promise<readonly Flow[]> | readonly Flow[];
  /** Calls back when a connection begins and when it ends, until the returned function is called. */
  follow(listener: (flow: Flow) => void): () => void;
  /** Switches acceleration off or on for all workloads, and tells how it is then. */
  accelerate(on: boolean): StatusReport["acceleration"];
  /** Throws an UnknownWorkloadError. */
  explain(query: ExplainQuery): Promise<Explanation> | Explanation;
}

/** The question names a workload the agent does not have; status 404. */
export class UnknownWorkloadError extends ShuntError<"ERR_ADMIN_WORKLOAD"> {
  constructor(name: string, known: readonly string[]) {
    super(
      "ERR_ADMIN_WORKLOAD",
      `no workload ${JSON.stringify(name)} (${known.length === 0 ? "there is none" : `known: ${known.join(", ")}`})`,
    );
  }
}
