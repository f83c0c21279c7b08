// SPDX-License-Identifier: Apache-2.0
/**
 * What the commands leave to the agent. The entry point hands in functions that load the agent's modules
 * when they are called, so that `--help` and completion stay quick and work where the addon is missing.
 */
import type { RunBench } from "../bench/bench-options.ts";
import type { CleanOptions, ExecOptions, ProbeOptions, RulesOptions, RunOptions } from "../config/command-options.ts";
import type { CleanReport } from "../config/formats/clean-report.ts";
import type { ProbeReport } from "../config/formats/probe.ts";
import type { RulesReport } from "../config/formats/rules.ts";
import type { AgentConfig } from "../config/model.ts";

export interface Actions {
  /** The program's version. */
  readonly version: string;
  /** Runs until `signal` aborts; the exit status. */
  runAgent(config: AgentConfig, options: RunOptions, signal: AbortSignal): Promise<number>;
  /** CMD's status, 128+N, 127 or 126; throws when Shunt itself fails. */
  execCommand(options: ExecOptions): Promise<number>;
  /** Throws when the agent of that scope still runs. */
  clean(options: CleanOptions): Promise<CleanReport>;
  /** Throws before anything is changed when a workload's configuration can't be had. */
  rules(options: RulesOptions): Promise<RulesReport>;
  /** Throws when something fails or is interrupted; what it made is gone then. */
  readonly bench: RunBench;
  probeMachine(options: ProbeOptions): Promise<ProbeReport>;
}
