// SPDX-License-Identifier: Apache-2.0
import { relative } from "node:path";
import type { Mount } from "../../util/mountinfo.ts";
import { NftablesError } from "./nftables-error.ts";
import { quotable } from "./rule.ts";

/** Where nft looks cgroups up, whatever is mounted there (src/datatype.c SYSFS_CGROUPSV2_PATH). */
export const NFT_CGROUP_ROOT = "/sys/fs/cgroup";

export interface CgroupMatch {
  /** Distance from the root of the caller's cgroup namespace (net/netfilter/nft_socket.c since 6.11). */
  readonly level: number;
  /** Undefined for the root, in which every socket is. */
  readonly phrase: string | undefined;
}

/**
 * What matches the sockets of a cgroup v2 directory and of those below. nft stores the directory's inode number, which
 * is the cgroup's id, and finds it below NFT_CGROUP_ROOT: see `withCgroup2` for where the tree is mounted elsewhere.
 */
export function matchCgroup(directory: string, mount: Pick<Mount, "mountPoint" | "root"> | undefined): CgroupMatch {
  if (!mount) throw unsupported(`cgroup ${directory} can't be matched: no cgroup2 file system is mounted`);
  const below = relative(mount.mountPoint, directory);
  if (below === ".." || below.startsWith("../")) {
    throw unsupported(`cgroup ${directory} is not below the cgroup2 mount ${mount.mountPoint}`);
  }
  const level = depth(mount.root) + depth(below);
  if (level > 255) throw unsupported(`cgroup ${directory} lies deeper than the 255 levels that a rule can name`);
  if (below === "") return { level, phrase: level === 0 ? undefined : `socket cgroupv2 level ${level} "."` };
  return { level, phrase: `socket cgroupv2 level ${level} "${quotable(below, "cgroup")}"` };
}

function depth(path: string): number {
  return path.split("/").filter((part) => part !== "").length;
}

function unsupported(message: string): NftablesError {
  return new NftablesError("ERR_NFTABLES_UNSUPPORTED", message);
}
