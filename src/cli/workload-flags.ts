// SPDX-License-Identifier: Apache-2.0
/** `run` without a file: the same data as a file would hold, put together from flags, and which flag each field came from. */
import type { FieldPath, Locate } from "../config/problem.ts";
import { TRAFFIC_OPTIONS, WORKLOAD_OPTIONS } from "./command-table.ts";
import type { OptionSet } from "./option-set.ts";
import { UsageError } from "./usage-error.ts";

/** Where each flag goes below a workload; `value` stands for what a switch means. */
const TRAFFIC_FIELDS: Readonly<Record<string, { readonly path: string; readonly value?: unknown }>> = {
  "--preset": { path: "preset" },
  "--annotation": { path: "annotations" },
  "--outbound-port": { path: "outbound.port" },
  "--include-outbound-ports": { path: "outbound.includePorts" },
  "--exclude-outbound-ports": { path: "outbound.excludePorts" },
  "--include-outbound-cidrs": { path: "outbound.includeCidrs" },
  "--exclude-outbound-cidrs": { path: "outbound.excludeCidrs" },
  "--include-outbound-groups": { path: "outbound.includeGroups" },
  "--exclude-outbound-groups": { path: "outbound.excludeGroups" },
  "--dns-capture": { path: "outbound.dns.capture" },
  "--capture-loopback": { path: "outbound.captureLoopback", value: true },
  "--capture-local": { path: "outbound.captureLocal", value: true },
  "--no-outbound": { path: "outbound.enabled", value: false },
  "--inbound-port": { path: "inbound.port" },
  "--include-inbound-ports": { path: "inbound.includePorts" },
  "--exclude-inbound-ports": { path: "inbound.excludePorts" },
  "--include-inbound-cidrs": { path: "inbound.includeCidrs" },
  "--exclude-inbound-cidrs": { path: "inbound.excludeCidrs" },
  "--preserve-source": { path: "inbound.preserveSource", value: true },
  "--no-inbound": { path: "inbound.enabled", value: false },
  "--exclude-interfaces": { path: "interfaces.exclude" },
  "--reroute-interfaces": { path: "interfaces.reroute" },
  "--drop-invalid": { path: "dropInvalid", value: true },
  "--fail-mode": { path: "failMode" },
  "--external-proxy": { path: "proxy.external", value: true },
  "--proxy-mark": { path: "proxy.mark" },
  "--proxy-uid": { path: "proxy.uid" },
  "--proxy-gid": { path: "proxy.gid" },
};

export interface FlagWorkloads {
  readonly workloads: readonly Record<string, unknown>[];
  readonly locate: Locate;
}

/** The workload and traffic flags that were given. */
export function givenWorkloadFlags(options: OptionSet): string[] {
  return [...WORKLOAD_OPTIONS, ...TRAFFIC_OPTIONS].map(({ long }) => long).filter((long) => options.has(long));
}

export function workloadsFromFlags(options: OptionSet): FlagWorkloads {
  const origins = new Map<string, string>();
  const traffic = trafficFromFlags(options, origins);
  const names = new Set<string>();
  const workloads: Record<string, unknown>[] = [];
  const targetFlags: string[] = [];
  for (const { long } of WORKLOAD_OPTIONS) {
    for (const target of (options.value(long) as (string | number)[] | undefined) ?? []) {
      workloads.push({ name: uniqueName(long, target, names), [long.replace("--workload-", "")]: target, ...traffic });
      targetFlags.push(`${long} ${target}`);
    }
  }
  return { workloads, locate: (path) => ({ where: origin(path, origins, targetFlags) }) };
}

/** Name and target of the one workload that `rules` has by flags. */
export function targetFromFlags(options: OptionSet, fallbackName?: string): Record<string, unknown> {
  const [long, ...more] = (["--netns", "--pid"] as const).filter((flag) => options.has(flag));
  if (long === undefined) throw new UsageError("no target: give --netns NS or --pid PID, or --config FILE");
  if (more.length > 0) throw new UsageError(`--netns ${options.text("--netns")} can't be used together with --pid`);
  const target = options.value(long) as string | number;
  const name = options.text("--name") ?? fallbackName ?? uniqueName(`--workload-${long.slice(2)}`, target, new Set());
  return { name, [long.slice(2)]: target };
}

/** Which flag a field below a workload was given by; undefined when by none. */
export function flagOf(field: FieldPath, origins: ReadonlyMap<string, string>): string | undefined {
  for (let length = field.length; length > 0; length--) {
    const flag = origins.get(field.slice(0, length).join("."));
    // Of many, the one that is meant.
    if (flag === "--annotation" && length < field.length) return `${flag} ${field[length]}`;
    if (flag !== undefined) return flag;
  }
  return undefined;
}

/** Fields of a workload; `origins` gets the flag of each. */
export function trafficFromFlags(options: OptionSet, origins: Map<string, string>): Record<string, unknown> {
  const traffic: Record<string, unknown> = {};
  for (const { long } of TRAFFIC_OPTIONS) {
    if (!options.has(long)) continue;
    const field = TRAFFIC_FIELDS[long];
    if (field === undefined) throw new TypeError(`option ${long} has no field in the configuration`);
    origins.set(field.path, long);
    setField(
      traffic,
      field.path.split("."),
      field.value ?? (long === "--annotation" ? Object.fromEntries(options.value(long) as []) : options.value(long)),
    );
  }
  return traffic;
}

function setField(into: Record<string, unknown>, [key = "", ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) into[key] = value;
  else setField((into[key] ??= {}) as Record<string, unknown>, rest, value);
}

/** The flag of the field or of what it is part of, else the one that named the workload. */
function origin(path: FieldPath, origins: ReadonlyMap<string, string>, targetFlags: readonly string[]): string {
  const [, index, ...field] = path;
  const flag = flagOf(field, origins);
  if (flag !== undefined) return flag;
  return typeof index === "number" ? (targetFlags[index] ?? "--workload-netns") : "--workload-netns";
}

/** "/run/netns/blue" is blue, process 7 is pid-7; a number is added where the name is taken. */
function uniqueName(long: string, target: string | number, taken: Set<string>): string {
  const text = long === "--workload-netns" ? String(target).replace(/^.*\//, "") : String(target);
  const word = text
    .replaceAll(/[^\w.-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, 240);
  const base = long === "--workload-pid" ? `pid-${word}` : word === "" ? "workload" : word;
  let name = base;
  for (let i = 2; taken.has(name); i++) name = `${base}-${i}`;
  taken.add(name);
  return name;
}
