// SPDX-License-Identifier: Apache-2.0
/** Rules that involve more than one field. Each takes data of the right kind and answers with problems. */

import { effectiveTraffic } from "./effective-traffic.ts";
import { groupId } from "./group-id.ts";
import { formatTarget, type Mode } from "./model.ts";
import type { Preset } from "./presets/preset.ts";
import type { PresetName } from "./presets.ts";
import { type FieldPath, type Locate, type Problem, problemAt } from "./problem.ts";
import { resolveTarget } from "./resolve.ts";
import { type RawExecWorkload, type RawTraffic, type RawWorkload, workloadSchema } from "./schema/config.ts";

const TARGETS = ["netns", "pid", "cgroup"] as const;

export function checkWorkloads(workloads: readonly RawWorkload[], preset: PresetName, locate: Locate): Problem[] {
  return [
    ...workloads.flatMap((workload, i) => checkWorkload(workload, ["workloads", i], preset, locate)),
    ...checkBetween(workloads, locate),
  ];
}

/** Whatever machine it is, without rules there is nobody who sees packets; see refuse() in src/intercept/ebpf/plan.ts. */
export function checkModes(
  workloads: readonly RawWorkload[],
  agentMode: Mode | undefined,
  preset: PresetName,
  locate: Locate,
): Problem[] {
  return workloads.flatMap((workload, i) => {
    const mode = workload.mode ?? agentMode;
    if (mode !== "ebpf" && mode !== "mixed") return [];
    const { traffic } = effectiveTraffic(workload, preset);
    const impossible = [
      ...(traffic.interfaces?.reroute?.length ? [["interfaces", "reroute"]] : []),
      ...(traffic.dropInvalid && mode === "ebpf" ? [["dropInvalid"]] : []),
    ];
    return impossible.map((field) =>
      problemAt(["workloads", i, ...field], `needs a mode with rules, and this is ${mode}`, locate),
    );
  });
}

/** The same as far as it goes for data that the schema refused: what is broken is left out, the rest compared. */
export function checkSoundParts(data: unknown, preset: PresetName, locate: Locate): Problem[] {
  const list: unknown = isMapping(data) ? data["workloads"] : undefined;
  if (!Array.isArray(list)) return [];
  const problems = list.flatMap((workload: unknown, i) => {
    const whole = workloadSchema.safeParse(workload);
    if (whole.success) return checkWorkload(whole.data, ["workloads", i], preset, locate);
    return isMapping(workload) ? checkTarget(workload, ["workloads", i], false, locate) : [];
  });
  return [...problems, ...checkBetween(list.map(soundFields), locate)];
}

function checkWorkload(workload: RawWorkload, path: FieldPath, preset: PresetName, locate: Locate): Problem[] {
  return [...checkTarget(workload, path, true, locate), ...checkTraffic(workload, path, preset, locate)];
}

/** The fields that are right by themselves. */
function soundFields(workload: unknown): Partial<RawWorkload> {
  if (!isMapping(workload)) return {};
  const sound = Object.entries(workloadSchema.shape).flatMap(([field, schema]) => {
    const value = schema.safeParse(workload[field]);
    return value.success && value.data !== undefined ? [[field, value.data] as const] : [];
  });
  const fields: Partial<RawWorkload> = Object.fromEntries(sound);
  if (workload["cgroup"] === undefined || fields.cgroup !== undefined) return fields;
  // Beside a cgroup that cannot be read, the namespace is not the target.
  const { netns: _, ...rest } = fields;
  return rest;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function checkBetween(workloads: readonly Partial<RawWorkload>[], locate: Locate): Problem[] {
  return [...checkNames(workloads, locate), ...checkSameTarget(workloads, locate)];
}

/** One target and no more, but for a cgroup and its namespace; `exec` needs none. */
export function checkTarget(
  workload: { readonly [Field in (typeof TARGETS)[number]]?: unknown },
  path: FieldPath,
  required: boolean,
  locate: Locate,
): Problem[] {
  const given = TARGETS.filter((field) => workload[field] !== undefined);
  if (given.length > 1 && given.includes("pid"))
    return [problemAt([...path, given[1] ?? ""], `a workload has one target, and ${given[0]} is given too`, locate)];
  return given.length === 0 && required ? [problemAt(path, "names no target (one of netns, pid, cgroup)", locate)] : [];
}

export function checkTraffic(raw: RawExecWorkload, path: FieldPath, fallback: PresetName, locate: Locate): Problem[] {
  const { preset, traffic, problems } = effectiveTraffic(raw, fallback);
  return [
    ...problems.map(({ name, message }) => problemAt([...path, "annotations", name], message, locate)),
    ...checkStar(traffic, path, locate),
    ...checkListenPorts(traffic, path, preset, locate),
    ...checkResolvers(traffic, path, locate),
    ...checkGroups(traffic, path, locate),
    ...checkMark(traffic, path, locate),
  ];
}

/** Routes lead the answers of those connections back by their mark, which is always the same one. */
function checkMark({ inbound, proxy }: RawTraffic, path: FieldPath, locate: Locate): Problem[] {
  if (proxy?.mark === undefined || proxy.external === true || inbound?.preserveSource !== true) return [];
  const why =
    "can't be used together with inbound.preserveSource: connections with the client's address have a mark of their own";
  return [problemAt([...path, "proxy", "mark"], why, locate)];
}

/** Rules and programs know numbers; a name must have one on this machine. */
function checkGroups(raw: RawTraffic, path: FieldPath, locate: Locate): Problem[] {
  return (["includeGroups", "excludeGroups"] as const).flatMap((field) => {
    const groups = raw.outbound?.[field];
    if (groups === undefined || groups === "*") return [];
    return groups.flatMap((group, i) =>
      groupId(group) === undefined
        ? [problemAt([...path, "outbound", field, i], `${JSON.stringify(group)} is no group of this machine`, locate)]
        : [],
    );
  });
}

function checkNames(workloads: readonly Partial<RawWorkload>[], locate: Locate): Problem[] {
  return duplicates(workloads.map((workload) => workload.name)).map(({ index, first, key }) =>
    problemAt(
      ["workloads", index, "name"],
      `${JSON.stringify(key)} is the name of workloads[${first}] already`,
      locate,
    ),
  );
}

function checkSameTarget(workloads: readonly Partial<RawWorkload>[], locate: Locate): Problem[] {
  const targets = workloads.map(resolveTarget);
  const texts = targets.map((target) => target && formatTarget(target));
  return duplicates(texts).map(({ index, first, key }) => {
    const field = targets[index]?.kind ?? "";
    return problemAt(["workloads", index, field], `${key} is the target of workloads[${first}] already`, locate);
  });
}

function duplicates(keys: readonly (string | undefined)[]): { index: number; first: number; key: string }[] {
  return keys.flatMap((key, index) => {
    const first = keys.indexOf(key);
    return key !== undefined && first < index ? [{ index, first, key }] : [];
  });
}

/** "*" with anything beside it is a contradiction, not a longer list. */
function checkStar(raw: RawTraffic, path: FieldPath, locate: Locate): Problem[] {
  const lists = [
    { field: ["outbound", "includeCidrs"], list: raw.outbound?.includeCidrs },
    { field: ["inbound", "includeCidrs"], list: raw.inbound?.includeCidrs },
    { field: ["inbound", "includePorts"], list: raw.inbound?.includePorts },
  ];
  return lists.flatMap(({ field, list }) => {
    if (!Array.isArray(list) || list.length < 2 || !list.includes("*")) return [];
    return [
      problemAt([...path, ...field, list.indexOf("*")], `"*" stands for all and can't be listed with others`, locate),
    ];
  });
}

/** The listeners share 127.0.0.1 of one namespace. */
function checkListenPorts(raw: RawTraffic, path: FieldPath, preset: Preset, locate: Locate): Problem[] {
  const { outbound, inbound } = preset.traffic;
  const out = { ...outbound, ...raw.outbound, dns: { ...outbound.dns, ...raw.outbound?.dns } };
  const inb = { ...inbound, ...raw.inbound };
  const used = [
    { field: ["outbound", "port"], on: out.enabled, port: out.port },
    { field: ["inbound", "port"], on: inb.enabled, port: inb.port },
    { field: ["outbound", "dns", "port"], on: out.dns.capture !== "off", port: out.dns.port },
  ].filter(({ on, port }) => on && port !== 0);
  return used.flatMap(({ field, port }, i) => {
    const other = used.slice(0, i).find((earlier) => earlier.port === port);
    if (other === undefined) return [];
    return [
      problemAt(
        [...path, ...field],
        `${port} is ${other.field.join(".")} already, and two listeners can't share a port`,
        locate,
      ),
    ];
  });
}

function checkResolvers(raw: RawTraffic, path: FieldPath, locate: Locate): Problem[] {
  const dns = raw.outbound?.dns;
  if (dns?.servers === undefined || dns.capture !== "all") return [];
  return [
    problemAt(
      [...path, "outbound", "dns", "servers"],
      "has no effect with capture: all (only with resolv.conf)",
      locate,
    ),
  ];
}
