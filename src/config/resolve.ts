// SPDX-License-Identifier: Apache-2.0
/** From fields as written (already of the right kind) to the model: defaults filled in, texts parsed. */
import { posix } from "node:path";
import { parseDuration } from "../util/duration.ts";
import { canonicalIp, parseCidr } from "../util/ip.ts";
import { effectiveTraffic } from "./effective-traffic.ts";
import { groupId } from "./group-id.ts";
import { parseListenAddress } from "./listen-address.ts";
import { parseMark } from "./mark.ts";
import type {
  AccelerationConfig,
  AgentConfig,
  CidrSet,
  DnsConfig,
  ExecWorkload,
  InboundConfig,
  Mode,
  OutboundConfig,
  PortSet,
  ProxyConfig,
  ProxyIdentityConfig,
  TargetConfig,
  TrafficConfig,
  WorkloadConfig,
} from "./model.ts";
import type { Preset } from "./presets/preset.ts";
import { AGENT_DEFAULTS, type PresetName } from "./presets.ts";
import type { RawAgent, RawExecWorkload, RawTraffic, RawWorkload } from "./schema/config.ts";

type RawTarget = Pick<RawExecWorkload, "netns" | "pid" | "cgroup">;

export function resolveAgent(raw: RawAgent): AgentConfig {
  const mode = raw.mode ?? AGENT_DEFAULTS.mode;
  const acceleration = resolveAcceleration(raw.acceleration, AGENT_DEFAULTS.acceleration);
  return {
    name: raw.name ?? AGENT_DEFAULTS.name,
    mode,
    workers: raw.workers ?? AGENT_DEFAULTS.workers,
    ...(raw.record === undefined ? {} : { record: raw.record }),
    ...(raw.admin === undefined ? {} : { admin: known(parseListenAddress(raw.admin)) }),
    logLevel: raw.logLevel ?? AGENT_DEFAULTS.logLevel,
    logFormat: raw.logFormat ?? AGENT_DEFAULTS.logFormat,
    verifyIntervalMs: known(parseDuration(raw.verifyInterval ?? AGENT_DEFAULTS.verifyInterval)),
    proxy: resolveProxy(raw.proxy),
    workloads: raw.workloads.map((workload) => resolveWorkload(workload, mode, acceleration)),
  };
}

export function resolveProxy(raw: RawAgent["proxy"]): ProxyConfig {
  return {
    connectTimeoutMs: known(parseDuration(raw?.connectTimeout ?? AGENT_DEFAULTS.connectTimeout)),
    idleTimeoutMs: known(parseDuration(raw?.idleTimeout ?? AGENT_DEFAULTS.idleTimeout)),
  };
}

/** Field by field: what is not written is as in `defaults`. */
export function resolveAcceleration(raw: RawAgent["acceleration"], defaults: AccelerationConfig): AccelerationConfig {
  return { ...defaults, ...withoutUndefined(raw ?? {}) };
}

function resolveWorkload(raw: RawWorkload, mode: Mode, acceleration: AccelerationConfig): WorkloadConfig {
  return {
    name: raw.name,
    target: known(resolveTarget(raw)),
    mode: raw.mode ?? mode,
    acceleration: resolveAcceleration(raw.acceleration, acceleration),
    ...resolveTraffic(raw, "istio"),
  };
}

export function resolveExecWorkload(raw: RawExecWorkload, preset: PresetName): ExecWorkload {
  const target = resolveTarget(raw);
  return {
    ...(raw.name === undefined ? {} : { name: raw.name }),
    ...(target === undefined ? {} : { target }),
    ...(raw.mode === undefined ? {} : { mode: raw.mode }),
    ...resolveTraffic(raw, preset),
  };
}

/** The target given; that there is one and no more is checked elsewhere. A namespace beside a cgroup tells where that is. */
export function resolveTarget(raw: RawTarget): TargetConfig | undefined {
  const netns = raw.netns === undefined ? undefined : netnsPath(raw.netns);
  if (raw.cgroup !== undefined) {
    const path = withoutEndSlash(posix.normalize(raw.cgroup));
    return { kind: "cgroup", path, ...(netns === undefined ? {} : { netns }) };
  }
  if (netns !== undefined) return { kind: "netns", path: netns };
  return raw.pid === undefined ? undefined : { kind: "pid", pid: raw.pid };
}

/** ip-netns(8) keeps names under /run/netns, on older systems called /var/run/netns. */
export function netnsPath(nameOrPath: string): string {
  if (!nameOrPath.startsWith("/")) return `/run/netns/${nameOrPath}`;
  return posix.normalize(nameOrPath).replace(/^\/var\/run\//, "/run/");
}

function withoutEndSlash(path: string): string {
  return path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
}

function resolveTraffic(raw: RawExecWorkload, fallback: PresetName): TrafficConfig {
  const { preset, traffic } = effectiveTraffic(raw, fallback);
  const defaults = preset.traffic;
  return {
    outbound: resolveOutbound(traffic.outbound ?? {}, defaults.outbound),
    inbound: resolveInbound(traffic.inbound ?? {}, defaults.inbound, preset.alwaysExcludedInbound),
    proxy: resolveIdentity(traffic.proxy ?? {}, preset),
    interfaces: { ...defaults.interfaces, ...withoutUndefined(traffic.interfaces ?? {}) },
    dropInvalid: traffic.dropInvalid ?? defaults.dropInvalid,
    failMode: traffic.failMode ?? defaults.failMode,
    trace: traffic.trace ?? defaults.trace,
  };
}

function resolveOutbound(raw: NonNullable<RawTraffic["outbound"]>, defaults: OutboundConfig): OutboundConfig {
  return {
    enabled: raw.enabled ?? defaults.enabled,
    port: raw.port ?? defaults.port,
    includePorts: ascending(raw.includePorts ?? defaults.includePorts),
    excludePorts: ascending(raw.excludePorts ?? defaults.excludePorts),
    includeCidrs: cidrSet(raw.includeCidrs) ?? defaults.includeCidrs,
    excludeCidrs: raw.excludeCidrs?.map(parseCidr) ?? defaults.excludeCidrs,
    captureLoopback: raw.captureLoopback ?? defaults.captureLoopback,
    captureLocal: raw.captureLocal ?? defaults.captureLocal,
    includeGroups: groupSet(raw.includeGroups) ?? defaults.includeGroups,
    excludeGroups: raw.excludeGroups?.map(knownGroup) ?? defaults.excludeGroups,
    dns: resolveDns(raw.dns ?? {}, defaults.dns),
  };
}

function resolveDns(raw: NonNullable<NonNullable<RawTraffic["outbound"]>["dns"]>, defaults: DnsConfig): DnsConfig {
  return {
    capture: raw.capture ?? defaults.capture,
    port: raw.port ?? defaults.port,
    ...(raw.servers === undefined ? {} : { servers: raw.servers.map(canonicalIp) }),
  };
}

function resolveInbound(
  raw: NonNullable<RawTraffic["inbound"]>,
  defaults: InboundConfig,
  alwaysExcluded: readonly number[],
): InboundConfig {
  return {
    enabled: raw.enabled ?? defaults.enabled,
    port: raw.port ?? defaults.port,
    includePorts: portSet(raw.includePorts) ?? defaults.includePorts,
    excludePorts: ascending([...(raw.excludePorts ?? defaults.excludePorts), ...alwaysExcluded]),
    includeCidrs: cidrSet(raw.includeCidrs) ?? defaults.includeCidrs,
    excludeCidrs: raw.excludeCidrs?.map(parseCidr) ?? defaults.excludeCidrs,
    preserveSource: raw.preserveSource ?? defaults.preserveSource,
  };
}

function resolveIdentity(raw: NonNullable<RawTraffic["proxy"]>, preset: Preset): ProxyIdentityConfig {
  const external = raw.external ?? false;
  const anyGiven = raw.mark !== undefined || raw.uid !== undefined || raw.gid !== undefined || raw.cgroup !== undefined;
  if (external && !anyGiven) return { ...preset.sidecar, external };
  return {
    ...(raw.mark === undefined ? {} : { mark: known(parseMark(raw.mark)) }),
    uids: listed(raw.uid),
    gids: listed(raw.gid),
    ...(raw.cgroup === undefined ? {} : { cgroup: withoutEndSlash(posix.normalize(raw.cgroup)) }),
    external,
  };
}

function listed(ids: number | readonly number[] | undefined): readonly number[] {
  return ids === undefined ? [] : typeof ids === "number" ? [ids] : ids;
}

function groupSet(raw: "*" | readonly (number | string)[] | undefined): "all" | readonly number[] | undefined {
  return raw === "*" ? "all" : raw?.map(knownGroup);
}

/** That the name exists has been checked. */
function knownGroup(group: number | string): number {
  return known(groupId(group));
}

function withoutUndefined<Fields extends object>(
  fields: Fields,
): { [Key in keyof Fields]-?: NonNullable<Fields[Key]> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [Key in keyof Fields]-?: NonNullable<Fields[Key]> };
}

function ascending(ports: readonly number[]): number[] {
  return [...new Set(ports)].sort((a, b) => a - b);
}

function portSet(raw: "*" | readonly (number | "*")[] | undefined): PortSet | undefined {
  if (raw === undefined) return undefined;
  return raw === "*" || raw.includes("*") ? "all" : ascending(raw as readonly number[]);
}

function cidrSet(raw: "*" | readonly string[] | undefined): CidrSet | undefined {
  if (raw === undefined) return undefined;
  return raw === "*" || raw.includes("*") ? "all" : raw.map(parseCidr);
}

/** The schema has accepted the text, so it parses. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("a value the schema accepted does not parse");
  return value;
}
