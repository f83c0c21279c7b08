// SPDX-License-Identifier: Apache-2.0
import type { ProxyIdentity } from "../spec.ts";

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

export function markMatch(mark: { readonly value: number; readonly mask: number }): string[] {
  return ["-m", "mark", "--mark", `${hex(mark.value)}/${hex(mark.mask)}`];
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}
