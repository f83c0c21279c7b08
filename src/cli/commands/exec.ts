// SPDX-License-Identifier: Apache-2.0

import { type ExecFile, presetWorkload } from "../../config/exec-file.ts";
import type { ExecWorkload, Mode } from "../../config/model.ts";
import { AGENT_DEFAULTS, type PresetName } from "../../config/presets.ts";
import { netnsPath } from "../../config/resolve.ts";
import type { LogFormat, LogLevel } from "../../util/log.ts";
import type { Actions } from "../actions.ts";
import type { CliIo } from "../io.ts";
import type { OptionSet } from "../option-set.ts";
import type { Invocation } from "../parse-arguments.ts";
import { UsageError } from "../usage-error.ts";

/** Silent but for trouble: standard error belongs to CMD. */
const EXEC_LOG_LEVEL: LogLevel = "warn";

export async function runExec(invocation: Invocation, io: CliIo, actions: Actions): Promise<number> {
  const { options } = invocation;
  const configFile = options.text("--config");
  const preset = (options.value("--preset") as PresetName | undefined) ?? "all";
  const file = configFile === undefined ? presetWorkload(preset) : await loadFile(configFile, preset);
  const asked = options.value("--mode") as Mode | undefined;
  const mode = asked ?? file.workload.mode ?? file.settings.mode ?? AGENT_DEFAULTS.mode;
  const netns = execNetns(options, file.workload);
  noteUnusedTarget(file.workload, io);
  const record = options.text("--record") ?? file.settings.record;
  const cgroupRoot = options.text("--cgroup-root");
  return actions.execCommand({
    command: invocation.arguments,
    mode,
    workload: withInbound(file.workload, options, netns),
    ...(record === undefined ? {} : { record }),
    ...(netns === undefined ? {} : { netns }),
    ...(cgroupRoot === undefined ? {} : { cgroupRoot }),
    killDescendants: options.has("--kill-descendants"),
    workers: file.settings.workers ?? 1,
    proxy: file.proxy,
    logLevel: (options.value("--log-level") as LogLevel | undefined) ?? file.settings.logLevel ?? EXEC_LOG_LEVEL,
    logFormat:
      (options.value("--log-format") as LogFormat | undefined) ?? file.settings.logFormat ?? AGENT_DEFAULTS.logFormat,
  });
}

async function loadFile(file: string, preset: PresetName): Promise<ExecFile> {
  const { loadExecConfig } = await import("../../config/parse.ts");
  return loadExecConfig(file, preset);
}

function execNetns(options: OptionSet, workload: ExecWorkload): string | undefined {
  const asked = options.text("--netns");
  if (asked !== undefined) return netnsPath(asked);
  const { target } = workload;
  if (target?.kind === "netns") return target.path;
  return target?.kind === "cgroup" ? target.netns : undefined;
}

/** A whole namespace is needed for inbound: in the caller's it would take what is meant for others. */
function withInbound(workload: ExecWorkload, options: OptionSet, netns: string | undefined): ExecWorkload {
  const ports = options.value("--inbound") as "*" | number[] | undefined;
  if (netns === undefined) {
    if (ports !== undefined) throw new UsageError(`--inbound ${String(ports)} only together with --netns`);
    return withoutInbound(workload, options);
  }
  if (ports === undefined) return workload;
  return { ...workload, inbound: { ...workload.inbound, enabled: true, includePorts: ports === "*" ? "all" : ports } };
}

/** The preset of a mesh has inbound on, which nobody asked for here; without one, the file did. */
function withoutInbound(workload: ExecWorkload, options: OptionSet): ExecWorkload {
  if (workload.inbound.enabled && (options.text("--preset") ?? "all") === "all") {
    throw new UsageError(`${options.text("--config")}: inbound.enabled true only together with --netns`);
  }
  return { ...workload, inbound: { ...workload.inbound, enabled: false } };
}

function noteUnusedTarget({ target }: ExecWorkload, io: CliIo): void {
  if (target === undefined || target.kind === "netns") return;
  io.stderr.write(`shunt exec: the workload's ${target.kind} is not used: CMD runs in a cgroup of its own\n`);
}
