// SPDX-License-Identifier: Apache-2.0
/** The ways into the configuration: a text, a file, or data put together from flags. All problems at once, never the first alone. */
import { readFileSync } from "node:fs";
import type { z } from "zod";
import { checkModes, checkSoundParts, checkTarget, checkTraffic, checkWorkloads } from "./cross-checks.ts";
import type { ExecFile } from "./exec-file.ts";
import type { AgentConfig } from "./model.ts";
import type { PresetName } from "./presets.ts";
import { ConfigError, inFileOrder, type Locate, type Parsed, type Problem, problemAt, problemsOf } from "./problem.ts";
import { resolveAgent, resolveExecWorkload, resolveProxy } from "./resolve.ts";
import { agentSchema, execAgentSchema, execWorkloadSchema, type RawExecAgent } from "./schema/config.ts";
import { readYaml } from "./yaml-source.ts";

/** Settings of the agent that the command line decides over the file; undefined leaves the file's. */
export interface AgentOverrides {
  readonly name?: string | undefined;
  readonly mode?: string | undefined;
  readonly workers?: number | undefined;
  readonly record?: string | undefined;
  readonly admin?: string | undefined;
  readonly logLevel?: string | undefined;
  readonly logFormat?: string | undefined;
}

/** `file` is the name that problems carry. */
export function parseAgentConfig(text: string, file: string, overrides: AgentOverrides = {}): Parsed<AgentConfig> {
  const source = readYaml(text, file);
  if (!source.ok) return source;
  return checkAgentConfig(withOverrides(source.value.data, overrides), source.value.locate);
}

/** As parseAgentConfig, for data that never was YAML; `locate` says which flag a field came from. */
export function checkAgentConfig(data: unknown, locate: Locate): Parsed<AgentConfig> {
  if (data === undefined || data === null)
    return failed([problemAt([], "is empty, and workloads is required", locate)]);
  const parsed = agentSchema.safeParse(data, { reportInput: true });
  if (!parsed.success) {
    return failed([...problemsOf(parsed.error, agentSchema, locate), ...checkSoundParts(data, "istio", locate)]);
  }
  const { workloads, mode } = parsed.data;
  const problems = [...checkWorkloads(workloads, "istio", locate), ...checkModes(workloads, mode, "istio", locate)];
  return problems.length > 0 ? failed(problems) : { ok: true, value: resolveAgent(parsed.data) };
}

/** A workload by itself, or a whole file that holds exactly one; what it leaves out is as in the preset. */
export function parseExecConfig(text: string, file: string, presetName: PresetName): Parsed<ExecFile> {
  const source = readYaml(text, file);
  if (!source.ok) return source;
  const { data, locate } = source.value;
  return typeof data === "object" && data !== null && "workloads" in data
    ? checkExecFile(execAgentSchema, data, locate, presetName)
    : checkExecFile(execWorkloadSchema, data ?? {}, locate, presetName);
}

/** Throws a ConfigError. */
export function loadAgentConfig(file: string, overrides: AgentOverrides = {}): AgentConfig {
  return valueOf(parseAgentConfig(readText(file), file, overrides));
}

/** Throws a ConfigError. */
export function loadExecConfig(file: string, presetName: PresetName): ExecFile {
  return valueOf(parseExecConfig(readText(file), file, presetName));
}

export function valueOf<Value>(parsed: Parsed<Value>): Value {
  if (parsed.ok) return parsed.value;
  throw new ConfigError("ERR_CONFIG_INVALID", parsed.problems);
}

function checkExecFile(
  schema: typeof execAgentSchema | typeof execWorkloadSchema,
  data: object,
  locate: Locate,
  presetName: PresetName,
): Parsed<ExecFile> {
  const parsed = (schema as z.ZodType<RawExecAgent | RawExecAgent["workloads"][number]>).safeParse(data, {
    reportInput: true,
  });
  if (!parsed.success) return failed(problemsOf(parsed.error, schema, locate));
  const agent = "workloads" in parsed.data ? parsed.data : undefined;
  const workload =
    agent === undefined ? (parsed.data as RawExecAgent["workloads"][number]) : (agent.workloads[0] ?? {});
  const path = agent === undefined ? [] : ["workloads", 0];
  const problems = [...checkTarget(workload, path, false, locate), ...checkTraffic(workload, path, presetName, locate)];
  if (problems.length > 0) return failed(problems);
  const { mode, record, logLevel, logFormat, workers } = agent ?? {};
  return {
    ok: true,
    value: {
      workload: resolveExecWorkload(workload, presetName),
      proxy: resolveProxy(agent?.proxy),
      settings: { mode, record, logLevel, logFormat, workers },
    },
  };
}

function withOverrides(data: unknown, overrides: AgentOverrides): unknown {
  if (typeof data !== "object" || data === null || Array.isArray(data)) return data;
  const given = Object.entries(overrides).filter(([, value]) => value !== undefined);
  return { ...data, ...Object.fromEntries(given) };
}

function failed(problems: readonly Problem[]): { ok: false; problems: readonly Problem[] } {
  return { ok: false, problems: inFileOrder(problems) };
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new ConfigError(
      "ERR_CONFIG_READ",
      [{ text: `${file}: cannot read the configuration: ${code ?? message}`, path: [] }],
      { cause },
    );
  }
}
