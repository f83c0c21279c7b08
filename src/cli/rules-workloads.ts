// SPDX-License-Identifier: Apache-2.0
/** Whose rules: the workloads of `rules` from flags, a pod's manifest, or an agent's file. */
import { readFileSync } from "node:fs";
import type { RulesWorkload } from "../config/command-options.ts";
import type { WorkloadConfig } from "../config/model.ts";
import { checkAgentConfig, loadAgentConfig } from "../config/parse.ts";
import { type PodManifest, parsePod } from "../config/pod-manifest.ts";
import { PRESETS, type PresetName } from "../config/presets.ts";
import { ConfigError, formatPath, type Locate } from "../config/problem.ts";
import { TRAFFIC_OPTIONS } from "./command-table.ts";
import type { OptionSet } from "./option-set.ts";
import { UsageError } from "./usage-error.ts";
import { flagOf, targetFromFlags, trafficFromFlags } from "./workload-flags.ts";

/** Nobody has said that IPv6 may pass by. */
const BY_FLAGS = { byAgent: false, dualStack: true, warnings: [] } as const;

/** Throws a UsageError or a ConfigError that names flag or field, value, and what is allowed. */
export function rulesWorkloads(options: OptionSet): readonly RulesWorkload[] {
  const file = options.text("--config");
  if (file !== undefined) return fromFile(file, options);
  if (options.has("--workload")) throw new UsageError("--workload only together with --config");
  const podFile = options.text("--pod");
  return [podFile === undefined ? fromFlags(options) : fromPod(podFile, options)];
}

function fromFile(file: string, options: OptionSet): RulesWorkload[] {
  const others = ["--netns", "--pid", "--pod", "--name", ...TRAFFIC_OPTIONS.map(({ long }) => long)];
  const other = others.find((long) => options.has(long));
  if (other !== undefined)
    throw new UsageError(`${other} can't be used together with --config: workloads come from the file`);
  const { workloads } = loadAgentConfig(file);
  const names = (options.value("--workload") as string[] | undefined) ?? workloads.map(({ name }) => name);
  return names.map((name) => {
    const config = workloads.find((workload) => workload.name === name);
    if (config) return { config, byAgent: true, dualStack: true, warnings: [] };
    const known = workloads.map((workload) => workload.name).join(", ") || "none";
    throw new UsageError(`--workload ${JSON.stringify(name)} is not in ${file} (it has: ${known})`);
  });
}

function fromFlags(options: OptionSet): RulesWorkload {
  const origins = new Map<string, string>();
  const traffic = trafficFromFlags(options, origins);
  const target = targetFromFlags(options);
  return { ...BY_FLAGS, config: check(target, { proxy: { external: true } }, traffic, locateFlags(origins)) };
}

function locateFlags(origins: ReadonlyMap<string, string>): Locate {
  return ([, , ...field]) => ({ where: flagOf(field, origins) ?? (formatPath(field) || "workload") });
}

function fromPod(file: string, options: OptionSet): RulesWorkload {
  const origins = new Map<string, string>();
  const traffic = trafficFromFlags(options, origins);
  const preset = (options.text("--preset") ?? "istio") as PresetName;
  const pod = podOf(file, preset);
  const locate: Locate = (path) => {
    const field = path.slice(2);
    const flag = flagOf(field, origins);
    return flag === undefined ? pod.locate(field) : { where: flag };
  };
  const target = targetFromFlags(options, pod.name);
  return {
    byAgent: false,
    config: check(target, pod.fields, traffic, locate),
    ...(pod.skip === undefined ? {} : { skip: pod.skip }),
    dualStack: pod.dualStack,
    warnings: pod.warnings,
  };
}

function podOf(file: string, preset: PresetName): PodManifest {
  const name = file === "-" ? "standard input" : file;
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new UsageError(`--pod ${file}: cannot be read: ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
  const parsed = parsePod(text, name, preset);
  if (parsed.ok) return parsed.value;
  throw new ConfigError("ERR_CONFIG_INVALID", parsed.problems);
}

/** What flags say goes before what the manifest says, and with neither the mesh's own proxy is meant. */
function check(
  target: Record<string, unknown>,
  fields: Readonly<Record<string, unknown>>,
  traffic: Readonly<Record<string, unknown>>,
  locate: Locate,
): WorkloadConfig {
  const data = withIdentity({ ...merge(fields, traffic), ...target });
  const parsed = checkAgentConfig({ workloads: [data] }, locate);
  const [config] = parsed.ok ? parsed.value.workloads : [];
  if (config) return config;
  throw new UsageError(parsed.ok ? "no workload" : [...new Set(parsed.problems.map(({ text }) => text))].join("; "));
}

/** Where one of user and group is given, the other is not the preset's. */
function withIdentity(data: Record<string, unknown>): Record<string, unknown> {
  const proxy = data["proxy"] as Record<string, unknown>;
  const given = ["mark", "uid", "gid", "cgroup"].some((field) => proxy[field] !== undefined);
  const { sidecar } = PRESETS[(data["preset"] as PresetName | undefined) ?? "istio"];
  return given ? data : { ...data, proxy: { ...proxy, uid: [...sidecar.uids], gid: [...sidecar.gids] } };
}

function merge(
  under: Readonly<Record<string, unknown>>,
  over: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const before = merged[key];
    merged[key] = isMapping(before) && isMapping(value) ? merge(before, value) : value;
  }
  return merged;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
