// SPDX-License-Identifier: Apache-2.0
/** What the command line asks the agent to do: the two folders that may not know each other meet here. */
import type { LogFormat, LogLevel } from "../util/log.ts";
import type { RulesAction, RulesBackendName } from "./formats/rules.ts";
import type { AgentConfig, ExecWorkload, Mode, ProxyConfig, WorkloadConfig } from "./model.ts";

export interface RunOptions {
  /** cgroup2 mount; absent: the one in /proc/self/mountinfo. */
  readonly cgroupRoot?: string;
  /** File to watch for changes. Absent: the workloads came from flags, and there is nothing to reload. */
  readonly configFile?: string;
  /** Reads the file again, flags applied; throws a ConfigError that says all that is wrong. */
  readonly reload?: () => AgentConfig;
  /** Called once when traffic is intercepted. */
  readonly onReady: () => void;
}

export interface ExecOptions {
  readonly command: readonly string[];
  readonly mode: Mode;
  readonly record?: string;
  readonly workload: ExecWorkload;
  /** Absolute path of the namespace CMD runs in; absent: the caller's. */
  readonly netns?: string;
  readonly killDescendants: boolean;
  readonly cgroupRoot?: string;
  readonly workers: number;
  readonly proxy: ProxyConfig;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export interface CleanOptions {
  /** "all": every scope and what `exec` and `probe` left behind. */
  readonly scope: { readonly kind: "all" } | { readonly kind: "agent"; readonly name: string };
}

export interface ProbeOptions {
  readonly cgroupRoot?: string;
  /** Runs the contract self-test as well. */
  readonly contract: boolean;
}

export interface RulesWorkload {
  readonly config: WorkloadConfig;
  /** The agent listens for it: its own proxy, its DNS forwarder, its marks. Otherwise an unmodified proxy does. */
  readonly byAgent: boolean;
  /** Why it is passed over. */
  readonly skip?: string;
  /** Istio's own rules for IPv6 whichever family the pod's first address is of. */
  readonly dualStack: boolean;
  readonly warnings: readonly string[];
}

export interface RulesOptions {
  readonly action: RulesAction;
  readonly workloads: readonly RulesWorkload[];
  /** Absent: chosen for each workload. */
  readonly backend?: RulesBackendName;
  /** Rules of Istio's own form and names instead of ours. */
  readonly istioChains: boolean;
  readonly removeLeftovers: boolean;
  readonly cgroupRoot?: string;
  /** Things to know before the report, such as which back-end was chosen. */
  readonly onNote: (text: string) => void;
  readonly signal: AbortSignal;
}
