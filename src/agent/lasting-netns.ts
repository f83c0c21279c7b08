// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";

/** Where `ip netns` keeps its names. */
const NAMED = "/run/netns";

/**
 * A path by which the namespace can be found when this process is gone: `/proc/self/ns/net` would be somebody else's
 * then. The path itself where there is no better one.
 */
export function lastingPath(netns: NetworkNamespace): string {
  if (!netns.path.startsWith("/proc/self/") && !netns.path.startsWith(`/proc/${process.pid}/`)) return netns.path;
  const named = existsSync(NAMED) ? readdirSync(NAMED).map((name) => join(NAMED, name)) : [];
  return ["/proc/1/ns/net", ...named].find((path) => isSame(path, netns.inode)) ?? netns.path;
}

function isSame(path: string, inode: bigint): boolean {
  try {
    return statSync(path, { bigint: true }).ino === inode;
  } catch {
    // Gone meanwhile, or not for us.
    return false;
  }
}
