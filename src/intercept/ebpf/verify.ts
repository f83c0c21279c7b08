// SPDX-License-Identifier: Apache-2.0
/** What is in force of an instance, compared with a plan. Reads only. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import type { Drift } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { InterceptSpec } from "../spec.ts";
import type { Hook } from "./hooks.ts";
import { PinnedMaps } from "./pinned-maps.ts";
import type { PinDirectory } from "./pins.ts";
import type { EbpfPlan } from "./plan.ts";
import type { ProxySockets } from "./proxy-sockets.ts";
import { cidrLine, ownerLine, portLine, rowLines } from "./render.ts";
import { cgroupId } from "./workload-scope.ts";

export interface Expected {
  readonly spec: InterceptSpec;
  readonly plan: EbpfPlan;
  readonly hooks: readonly Hook[];
  /** Directory the hooks are attached to. */
  readonly cgroup: string;
  readonly sockets: ProxySockets | undefined;
}

export function ebpfDrift(
  pins: PinDirectory,
  objects: string,
  netns: NetworkNamespace,
  expected: Expected,
): readonly Drift[] {
  if (!pins.exists) return [missing("pins", pins.path, ["maps", "links"])];
  using maps = new PinnedMaps(pins, objects);
  const { spec, plan } = expected;
  const cookie = netns.cookie();
  const slots =
    spec.target.kind === "netns"
      ? ({ map: "netns_slots", key: cookie } as const)
      : ({ map: "cgroup_slots", key: cgroupId(spec.target.path) } as const);
  const slot = maps.shared(slots.map)?.get(slots.key);
  const row = slot === undefined ? undefined : maps.shared("workloads")?.get(slot);
  if (slot === undefined || row === undefined) return [missing(slots.map, String(slots.key), [spec.name])];
  const { netns: _netns, policy, proxyCgroup: _proxyCgroup, ...actual } = row;
  const addresses = [...(maps.shared("local_addrs")?.entries() ?? [])].filter(([key]) => key.netns === cookie);
  return [
    ...rowDrift(String(slot), rowLines(plan.workload), rowLines(actual)),
    ...policyDrift(maps, policy, plan),
    ...setDrift(
      "local_addrs",
      `netns ${cookie}`,
      netns.localAddresses(),
      addresses.map(([key]) => key.address),
    ),
    ...hookDrift(pins, expected),
    ...(spec.inbound ? inboundDrift(pins, maps, slot, netns, expected.sockets) : []),
  ];
}

/** The maps hold the entries of every policy; those of one are compared. */
function policyDrift(maps: PinnedMaps, policy: number, plan: EbpfPlan): Drift[] {
  const ports = [...(maps.shared("ports")?.entries() ?? [])];
  const cidrs = [...(maps.shared("cidrs")?.entries() ?? [])];
  const owners = [...(maps.shared("owners")?.entries() ?? [])];
  const own = ([key]: readonly [{ readonly policy: number }, unknown]): boolean => key.policy === policy;
  const name = `policy ${policy}`;
  return [
    ...setDrift(
      "ports",
      name,
      plan.ports.map(portLine),
      ports.filter(own).map(([key]) => portLine(key)),
    ),
    ...setDrift(
      "cidrs",
      name,
      plan.cidrs.map(cidrLine),
      // Routes by excluded interfaces are of the moment, and no part of a plan.
      cidrs
        .filter((entry) => own(entry) && entry[0].kind !== "interface-route")
        .map(([key, value]) => cidrLine({ key, covers: value !== 0 })),
    ),
    ...setDrift(
      "owners",
      name,
      plan.owners.map(ownerLine),
      owners.filter(own).map(([key, flags]) => ownerLine({ key, flags })),
    ),
  ];
}

function rowDrift(slot: string, expected: readonly string[], actual: readonly string[]): Drift[] {
  const differs = expected.map((line, i) => line !== actual[i]);
  if (!differs.includes(true)) return [];
  const only = (lines: readonly string[]): string[] => lines.filter((_line, i) => differs[i]);
  return [{ table: "workloads", chain: slot, kind: "changed", expected: only(expected), actual: only(actual) }];
}

function setDrift(table: string, chain: string, expected: readonly string[], actual: readonly string[]): Drift[] {
  const gone = [...new Set(expected)].filter((line) => !actual.includes(line));
  const extra = actual.filter((line) => !expected.includes(line));
  if (gone.length === 0 && extra.length === 0) return [];
  const kind = extra.length === 0 ? "missing" : gone.length === 0 ? "unexpected" : "changed";
  return [{ table, chain, kind, expected: gone, actual: extra }];
}

/** A pin outlives what it held: a link says by itself whether it is still attached. */
function hookDrift(pins: PinDirectory, { hooks, cgroup }: Expected): Drift[] {
  const id = cgroupId(cgroup);
  const pinned = existsSync(pins.links) ? readdirSync(pins.links) : [];
  const lost = hooks.filter(({ program }) => {
    const name = `${program}@${id}`;
    if (pinned.includes(`${name}+multi`)) return false;
    return !pinned.includes(name) || linkInfo(join(pins.links, name)).cgroupId !== id;
  });
  return lost.map(({ program }) => missing("programs", program, [`attached to ${cgroup}`]));
}

function inboundDrift(
  pins: PinDirectory,
  maps: PinnedMaps,
  slot: number,
  netns: NetworkNamespace,
  sockets: ProxySockets | undefined,
): Drift[] {
  const path = join(pins.workload(slot), "link");
  const attached = existsSync(path) && BigInt(linkInfo(path).netnsInode ?? 0) === netns.inode;
  const drift = attached ? [] : [missing("programs", "inbound", [`attached to ${netns.path}`])];
  const cookie = netns.cookie();
  const known = new Set([
    ...[...(maps.own(slot, "listeners")?.entries() ?? [])].map(([, socket]) => socket),
    // Those that began to listen since, which the kernel has told the programs of.
    ...[...(maps.shared("ext_listeners")?.entries() ?? [])].flatMap(([key, socket]) =>
      key.netns === cookie ? [socket] : [],
    ),
  ]);
  // One of a reuseport group is enough: the kernel spreads connections over the others.
  const listening = sockets?.sockets ?? [];
  for (const address of new Set(listening.map(({ socket }) => socket.address))) {
    const members = listening.filter(({ socket }) => socket.address === address);
    if (members.some(({ cookie: socket }) => known.has(socket))) continue;
    drift.push(
      missing(
        "listeners",
        address,
        members.map(({ socket }) => `socket ${socket.inode}, port ${socket.port}`),
      ),
    );
  }
  return drift;
}

function linkInfo(path: string) {
  const link = check(loadAddon().openPinnedLink(path), "bpf_obj_get", path);
  try {
    return check(link.info(), "bpf_link_get_info_by_fd", path);
  } finally {
    link.close();
  }
}

function missing(table: string, chain: string, expected: readonly string[]): Drift {
  return { table, chain, kind: "missing", expected, actual: [] };
}
