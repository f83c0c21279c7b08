// SPDX-License-Identifier: Apache-2.0
/** Interception by eBPF that stays in force without an agent: pinned programs, an instance for each workload. */
import { existsSync } from "node:fs";
import { Bpffs } from "../../bpf/bpffs.ts";
import { findCgroup2 } from "../../util/mountinfo.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { Applied, Drift } from "../backend.ts";
import { BPF_OBJECTS } from "../bpf-objects.ts";
import { NetworkNamespace } from "../network-namespace.ts";
import type { InterceptSpec } from "../spec.ts";
import { EbpfBackend } from "./backend.ts";
import { type Hook, hooksFor } from "./hooks.ts";
import { PinDirectory } from "./pins.ts";
import { type EbpfPlan, plan as planMaps } from "./plan.ts";
import { ProxySockets } from "./proxy-sockets.ts";
import { rulesInstance, rulesWorkloads, writeLabels } from "./rules-instance.ts";
import { ebpfDrift } from "./verify.ts";

export interface EbpfRulesPlan {
  readonly maps: EbpfPlan;
  readonly hooks: readonly Hook[];
  readonly warnings: readonly string[];
}

export function planRules(spec: InterceptSpec): EbpfRulesPlan {
  const { outbound, proxy, target, interfaces } = spec;
  const dns = outbound !== undefined && outbound.dns.kind !== "off";
  const warnings =
    interfaces.exclude.length === 0
      ? []
      : ["interfaces.exclude: routes and interfaces are those of this moment; apply again when they have changed"];
  return {
    maps: planMaps(spec),
    hooks: hooksFor(target.kind === "netns" ? "root" : "cgroup", { dns, externalProxy: proxy.external }),
    warnings: [
      "the namespace's own addresses are those of this moment; apply again when they have changed",
      ...warnings,
    ],
  };
}

export async function apply(spec: InterceptSpec): Promise<Applied> {
  const planned = planRules(spec);
  using netns = new NetworkNamespace(netnsPathOf(spec));
  using sockets = proxySockets(spec, netns);
  const name = rulesInstance(netns.inode, spec.name);
  const warnings = [...planned.warnings, ...socketWarnings(spec, sockets)];
  const result = { name: spec.name, netnsPath: netnsPathOf(spec), warnings };
  if (driftOf(spec, netns, planned, sockets).length === 0) return { ...result, changed: false };
  using backend = new EbpfBackend({ name });
  try {
    using scope = await backend.apply(spec, netns, sockets?.listeners ?? []);
    // A row that was there keeps its places: each listener is put where it belongs now.
    for (const listener of sockets?.listeners ?? []) scope.setInboundListener(listener);
    const { options } = backend.instance ?? {};
    if (options) writeLabels(new PinDirectory(options.bpffs, name), netns.inode, spec.name);
  } catch (error) {
    if (!backend.adopted) backend.remove();
    throw error;
  }
  return { ...result, changed: true };
}

/** What an earlier process applied, when it is there as planned; undefined otherwise, and nothing is changed. */
export async function adopt(spec: InterceptSpec): Promise<Applied | undefined> {
  const netnsPath = netnsPathOf(spec);
  if (!(await findOurs(netnsPath)).includes(spec.name) || (await verifyApplied(spec)).length > 0) return undefined;
  return { name: spec.name, netnsPath, warnings: planRules(spec).warnings, changed: false };
}

export async function verifyApplied(spec: InterceptSpec): Promise<readonly Drift[]> {
  const planned = planRules(spec);
  using netns = new NetworkNamespace(netnsPathOf(spec));
  using sockets = proxySockets(spec, netns);
  return driftOf(spec, netns, planned, sockets);
}

export async function remove(netnsPath: string, name: string): Promise<boolean> {
  using netns = new NetworkNamespace(netnsPath);
  using bpffs = Bpffs.find();
  const pins = bpffs && new PinDirectory(bpffs.path, rulesInstance(netns.inode, name));
  if (!pins || !existsSync(pins.path)) return false;
  // The hooks go with their last reference, which the pins are.
  using backend = new EbpfBackend({ name: rulesInstance(netns.inode, name) });
  backend.releaseOthers(new Set());
  return true;
}

export async function findOurs(netnsPath: string): Promise<readonly string[]> {
  using netns = new NetworkNamespace(netnsPath);
  using bpffs = Bpffs.find();
  return bpffs ? rulesWorkloads(bpffs.path, netns.inode) : [];
}

function netnsPathOf({ target }: InterceptSpec): string {
  return target.kind === "netns" ? target.path : target.netnsPath;
}

function proxySockets({ inbound }: InterceptSpec, netns: NetworkNamespace): ProxySockets | undefined {
  return inbound && new ProxySockets(netns, inbound.port);
}

/** The programs notice when an unmodified proxy begins to listen; sockets of others are those of the moment. */
function socketWarnings({ inbound, proxy }: InterceptSpec, sockets: ProxySockets | undefined): string[] {
  if (!inbound || !sockets) return [];
  const found = sockets.sockets.length;
  if (proxy.external)
    return found > 0
      ? []
      : [`inbound: nobody listens on port ${inbound.port}; until the proxy does, the fail mode decides`];
  if (found === 0) return [`inbound: nobody listens on port ${inbound.port}; apply again when the proxy does`];
  return [
    `inbound: connections go to the ${found === 1 ? "socket" : `${found} sockets`} found on port ${inbound.port} now; when the proxy has been restarted, apply again (or let an agent follow it)`,
  ];
}

function driftOf(
  spec: InterceptSpec,
  netns: NetworkNamespace,
  { maps, hooks }: EbpfRulesPlan,
  sockets: ProxySockets | undefined,
): readonly Drift[] {
  const cgroup = spec.target.kind === "cgroup" ? spec.target.path : findCgroup2()?.mountPoint;
  if (cgroup === undefined) throw new ShuntError("ERR_CGROUP_MISSING", "no cgroup2 file system is mounted");
  using bpffs = Bpffs.find();
  const pins = new PinDirectory(bpffs?.path ?? "/sys/fs/bpf", rulesInstance(netns.inode, spec.name));
  return ebpfDrift(pins, BPF_OBJECTS, netns, { spec, plan: maps, hooks, cgroup, sockets });
}
