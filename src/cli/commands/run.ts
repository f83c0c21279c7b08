// SPDX-License-Identifier: Apache-2.0
import type { AgentConfig } from "../../config/model.ts";
import { formatTarget } from "../../config/model.ts";
import { type AgentOverrides, checkAgentConfig, loadAgentConfig } from "../../config/parse.ts";
import type { Actions } from "../actions.ts";
import { EXIT } from "../exit-status.ts";
import type { CliIo } from "../io.ts";
import type { OptionSet } from "../option-set.ts";
import type { Invocation } from "../parse-arguments.ts";
import { UsageError } from "../usage-error.ts";
import { givenWorkloadFlags, workloadsFromFlags } from "../workload-flags.ts";

export async function runAgentCommand({ options }: Invocation, io: CliIo, actions: Actions): Promise<number> {
  const configFile = options.text("--config");
  const read = (): AgentConfig => readConfig(options, configFile);
  const config = read();
  if (options.has("--check")) {
    io.stdout.write(options.has("--json") ? `${JSON.stringify(config, null, 2)}\n` : summary(config));
    return EXIT.ok;
  }
  if (options.has("--json")) throw new UsageError("--json only together with --check");
  const cgroupRoot = options.text("--cgroup-root");
  return actions.runAgent(
    config,
    {
      ...(cgroupRoot === undefined ? {} : { cgroupRoot }),
      ...(configFile === undefined ? {} : { configFile, reload: read }),
      onReady: () => void io.stdout.write("ready\n"),
    },
    io.signal,
  );
}

function readConfig(options: OptionSet, configFile: string | undefined): AgentConfig {
  const flags = givenWorkloadFlags(options);
  if (configFile !== undefined) {
    if (flags[0] !== undefined)
      throw new UsageError(`${flags[0]} can't be used together with --config: workloads come from the file`);
    const config = loadAgentConfig(configFile, overridesOf(options));
    if (!options.has("--mode")) return config;
    // What is said on the command line goes before all of the file.
    return { ...config, workloads: config.workloads.map((workload) => ({ ...workload, mode: config.mode })) };
  }
  const { workloads, locate } = workloadsFromFlags(options);
  if (workloads.length === 0)
    throw new UsageError("no workload: give --config FILE, --workload-netns, --workload-pid or --workload-cgroup");
  const given = Object.entries(overridesOf(options)).filter(([, value]) => value !== undefined);
  const parsed = checkAgentConfig({ ...Object.fromEntries(given), workloads }, locate);
  if (!parsed.ok) throw new UsageError([...new Set(parsed.problems.map(({ text }) => text))].join("; "));
  return parsed.value;
}

function overridesOf(options: OptionSet): AgentOverrides {
  return {
    name: options.text("--name"),
    mode: options.text("--mode"),
    workers: options.value("--workers") as number | undefined,
    record: options.text("--record"),
    admin: options.text("--admin"),
    logLevel: options.text("--log-level"),
    logFormat: options.text("--log-format"),
  };
}

function summary({ name, mode, workloads }: AgentConfig): string {
  const lines = workloads.map((workload) => `  ${workload.name} (${formatTarget(workload.target)})\n`);
  return `ok: agent ${name}, mode ${mode}, ${workloads.length} workload${workloads.length === 1 ? "" : "s"}\n${lines.join("")}`;
}
