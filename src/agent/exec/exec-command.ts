// SPDX-License-Identifier: Apache-2.0

import type { ExecOptions } from "../../config/command-options.ts";
import type { WorkloadConfig } from "../../config/model.ts";
import { AGENT_DEFAULTS } from "../../config/presets.ts";
import { Cgroup2Mount } from "../../intercept/cgroup2-mount.ts";
import { OWN_NETNS } from "../../intercept/network-namespace.ts";
import { RecordFile } from "../../telemetry/record-file.ts";
import { createLogger } from "../../util/log.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { Agent } from "../agent.ts";
import { requirePrivileges } from "../require-privileges.ts";
import type { WorkloadTrace } from "../scope-lock.ts";
import { takeExecScope } from "./exec-scope.ts";
import { CommandError, exitStatus, launch, resolveCommand } from "./launch.ts";
import { ownCgroup, type ScratchCgroup } from "./scratch-cgroup.ts";
import { SignalRelay } from "./signal-relay.ts";

/**
 * Runs a command under interception: a cgroup of its own, an agent with that one workload, and nothing left when the
 * last descendant has gone. Resolves with the status to exit with; throws when Shunt itself fails.
 */
export async function execCommand(options: ExecOptions): Promise<number> {
  const [program, ...args] = options.command;
  if (program === undefined) throw new ShuntError("ERR_EXEC_NO_COMMAND", "exec: no command given after --");
  try {
    resolveCommand(program);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    process.stderr.write(`shunt exec: ${error.message}\n`);
    return error.exitCode;
  }
  requirePrivileges("exec");
  using _cgroup2 = new Cgroup2Mount();
  using signals = new SignalRelay();
  const log = createLogger({ level: options.logLevel, format: options.logFormat });
  const record =
    options.record === undefined
      ? undefined
      : new RecordFile({
          path: options.record,
          setting: "--record",
          onError: (error) => log.error({ err: error }, "record lost"),
        });
  const scope = takeExecScope(process.pid, options.cgroupRoot ?? ownCgroup());
  const { name } = scope;
  using lock = scope.lock;
  await using cgroup = scope.cgroup;
  // Before anything is changed: whoever cleans up after us must find all of it.
  const config = workloadOf(options, name, cgroup.path);
  lock.save({ workloads: [traceOf(config, options.netns, cgroup.path)], cgroups: [cgroup.path] });
  await using agent = await Agent.start({
    name,
    workers: options.workers,
    timeouts: options.proxy,
    log,
    onRecord: (line) => record?.append(line),
  });
  const workload = await agent.add(config);
  lock.save({ workloads: [workload.trace], cgroups: [cgroup.path] });
  const status = signals.early ?? (await runInside(options, [program, ...args], cgroup, signals));
  // The last connections are told before the last line is written.
  try {
    await agent.stop();
  } catch (error) {
    lock.keep();
    throw error;
  }
  await record?.close();
  return status;
}

async function runInside(
  options: ExecOptions,
  argv: readonly string[],
  cgroup: ScratchCgroup,
  signals: SignalRelay,
): Promise<number> {
  const child = launch(argv, cgroup.path, options.netns);
  signals.toCommand(child);
  const status = await exitStatus(child);
  signals.toDescendants(cgroup);
  if (options.killDescendants) cgroup.killAll();
  await cgroup.empty();
  return status;
}

function traceOf({ name, inbound }: WorkloadConfig, netns: string | undefined, cgroup: string): WorkloadTrace {
  return {
    workload: name,
    target: `cgroup:${cgroup}`,
    netns: netns ?? OWN_NETNS,
    passthroughAddress: inbound.enabled,
  };
}

function workloadOf(options: ExecOptions, name: string, cgroup: string): WorkloadConfig {
  const { workload, netns } = options;
  return {
    ...workload,
    mode: options.mode,
    // The other end's proxy is never the command's own.
    acceleration: AGENT_DEFAULTS.acceleration,
    // Several may run with one file at a time, and rules are told apart by the name.
    name: workload.name === undefined ? name : `${workload.name}${name.slice("exec".length)}`,
    target: { kind: "cgroup", path: cgroup, ...(netns === undefined ? {} : { netns }) },
  };
}
