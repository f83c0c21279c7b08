// SPDX-License-Identifier: Apache-2.0
/** /proc/self/mountinfo (proc_pid_mountinfo(5)): which file systems are mounted where. */
import { readFileSync } from "node:fs";

export interface Mount {
  readonly id: number;
  readonly parentId: number;
  /** "major:minor"; mounts of one file system instance share it. */
  readonly device: string;
  /** Which directory of the file system is mounted; "/" for the whole. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly fileSystem: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** Mounts of the calling process, in the kernel's order: a later one hides an earlier one of the same point. */
export function readMounts(path = "/proc/self/mountinfo"): Mount[] {
  return parseMountinfo(readFileSync(path, "utf8"));
}

export function parseMountinfo(text: string): Mount[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}

function parseLine(line: string): Mount {
  const fields = line.split(" ");
  // Optional fields (propagation tags) end with a lone "-"; no other field can be that one character alone.
  const dash = fields.indexOf("-", 6);
  const field = (i: number): string => unescapeOctal(fields[i] ?? "");
  return {
    id: Number(fields[0]),
    parentId: Number(fields[1]),
    device: field(2),
    root: field(3),
    mountPoint: field(4),
    options: field(5).split(","),
    fileSystem: field(dash + 1),
    source: field(dash + 2),
    superOptions: field(dash + 3).split(","),
  };
}

/** The kernel writes space, tab, newline and backslash as \ooo, byte by byte (fs/seq_file.c mangle_path). */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** True unless a later mount covers this one's mount point. */
function visible(mount: Mount, mounts: readonly Mount[]): boolean {
  return !mounts.some((other) => other.parentId === mount.id && other.mountPoint === mount.mountPoint);
}

/** Mount points of a type that can be reached, best first: whole file systems before sub-trees, writable before not. */
export function mountsOfType(mounts: readonly Mount[], fileSystem: string): Mount[] {
  const rank = (m: Mount): number => (m.root === "/" ? 0 : 2) + (m.options.includes("ro") ? 1 : 0);
  return mounts
    .filter((m) => m.fileSystem === fileSystem && visible(m, mounts))
    .sort((a, b) => rank(a) - rank(b) || a.mountPoint.length - b.mountPoint.length);
}

/**
 * The cgroup v2 mount to work with: pure v2 (/sys/fs/cgroup), hybrid (/sys/fs/cgroup/unified) or any other
 * place. Of several, one that shows the whole hierarchy wins. Undefined when none is mounted.
 */
export function findCgroup2(mounts: readonly Mount[] = readMounts()): Mount | undefined {
  return mountsOfType(mounts, "cgroup2")[0];
}
