// SPDX-License-Identifier: Apache-2.0
import type { InterfacePolicy, OwnerGroups, ProxyIdentity } from "../spec.ts";

/**
 * Match words for the proxy's own traffic, one entry for each way to recognise it. Only for chains reached
 * from OUTPUT, where the packet still has its socket.
 */
export function ownTraffic(proxy: ProxyIdentity, cgroupPath: (directory: string) => string): (readonly string[])[] {
  const matches: string[][] = [];
  if (proxy.mark) matches.push(markMatch(proxy.mark));
  for (const uid of proxy.uids) matches.push(["-m", "owner", "--uid-owner", String(uid)]);
  for (const gid of proxy.gids) matches.push(["-m", "owner", "--gid-owner", String(gid)]);
  if (proxy.cgroup !== undefined) matches.push(["-m", "cgroup", "--path", cgroupPath(proxy.cgroup)]);
  return matches;
}

/** Matches of what the group of its socket keeps out. A packet without a socket is in no group. */
export function keptOutByGroup(groups: OwnerGroups): (readonly string[])[] {
  if (groups.kind === "all-except") return groups.groups.map((gid) => ["-m", "owner", "--gid-owner", String(gid)]);
  return [groups.groups.flatMap((gid) => ["-m", "owner", "!", "--gid-owner", String(gid)])];
}

/** Matches of what leaves by excluded interfaces. */
export function leavingBy({ exclude }: InterfacePolicy): (readonly string[])[] {
  return exclude.map((name) => ["-o", name]);
}

export function markMatch(mark: { readonly value: number; readonly mask: number }): string[] {
  return ["-m", "mark", "--mark", markWord(mark)];
}

/** `0x539/0xfff`, as iptables and ip write it. */
export function markWord({ value, mask }: { readonly value: number; readonly mask: number }): string {
  return `${hex(value)}/${hex(mask)}`;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
