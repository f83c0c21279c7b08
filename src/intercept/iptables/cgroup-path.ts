// SPDX-License-Identifier: Apache-2.0
import { relative } from "node:path";
import type { Mount } from "../../util/mountinfo.ts";
import { IptablesError } from "./iptables-error.ts";

/** XT_CGROUP_PATH_MAX with the final zero (include/uapi/linux/netfilter/xt_cgroup.h, revision 2). */
const MAX_PATH_BYTES = 511;

/**
 * What `-m cgroup --path` wants for a cgroup v2 directory: its path from the root of the caller's cgroup
 * namespace (kernel: cgroup_get_from_path), not from the mount, and never the directory itself.
 */
export function toCgroupMatchPath(directory: string, mount: Pick<Mount, "mountPoint" | "root"> | undefined): string {
  if (!mount) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `cgroup ${directory} can't be matched: no cgroup2 file system is mounted`,
    );
  }
  const below = relative(mount.mountPoint, directory);
  if (below === ".." || below.startsWith("../")) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `cgroup ${directory} is not below the cgroup2 mount ${mount.mountPoint}`,
    );
  }
  const path = `/${[mount.root, below]
    .map((part) => part.replace(/^\/+|\/+$/g, ""))
    .filter((part) => part !== "")
    .join("/")}`;
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new IptablesError(
      "ERR_IPTABLES_UNSUPPORTED",
      `cgroup ${path} is longer than the ${MAX_PATH_BYTES} bytes a rule can hold`,
    );
  }
  return path;
}

/** The reverse, to see whether a rule's cgroup still exists; undefined when the mount doesn't show it. */
export function toCgroupDirectory(matchPath: string, mount: Pick<Mount, "mountPoint" | "root">): string | undefined {
  const root = mount.root === "/" ? "" : mount.root;
  if (matchPath !== root && !matchPath.startsWith(`${root}/`)) return undefined;
  return `${mount.mountPoint}${matchPath.slice(root.length)}`;
}

/** The path in a line of iptables-save; older versions leave out the quotes. */
export function cgroupPathIn(line: string): string | undefined {
  const match = / --path (?:"((?:[^"\\]|\\.)*)"|(\S+))/.exec(line);
  const text = match?.[1]?.replace(/\\(.)/g, "$1") ?? match?.[2];
  if (text === undefined) return undefined;
  return text.startsWith("/") ? text : `/${text}`;
}
