// SPDX-License-Identifier: Apache-2.0
/** What the command line asks the agent to do: the two folders that may not know each other meet here. */
import type { LogFormat, LogLevel } from "../util/log.ts";
import type { AgentConfig, ExecWorkload, Mode, ProxyConfig } from "./model.ts";

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
}
