// SPDX-License-Identifier: Apache-2.0
/** Apart from parse.ts, so that an `exec` without a file does not wait for the schemas and YAML to load. */
import type { ExecWorkload, ProxyConfig } from "./model.ts";
import type { PresetName } from "./presets.ts";
import { resolveExecWorkload, resolveProxy } from "./resolve.ts";
import type { RawExecAgent } from "./schema/config.ts";

/** What `exec --config` gets out of a file. `settings` are those the file really names. */
export interface ExecFile {
  readonly workload: ExecWorkload;
  readonly proxy: ProxyConfig;
  readonly settings: Pick<RawExecAgent, "mode" | "record" | "logLevel" | "logFormat" | "workers">;
}

/** The workload of an `exec` without a file. */
export function presetWorkload(presetName: PresetName): ExecFile {
  return { workload: resolveExecWorkload({}, presetName), proxy: resolveProxy(undefined), settings: {} };
}
