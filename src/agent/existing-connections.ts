// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { readProcNet } from "../intercept/read-proc-net.ts";
import type { Target } from "../intercept/spec.ts";

/** State column of /proc/net/tcp (include/net/tcp_states.h). */
const ESTABLISHED = "01";

/**
 * The connections a workload had when it was enrolled. Enrolment never touches them: they are known by the inode of
 * their socket, and counted as long as they live.
 */
export class ExistingConnections {
  readonly #target: Target;
  readonly #netns: NetworkNamespace;
  #inodes: ReadonlySet<string> = new Set();

  constructor(target: Target, netns: NetworkNamespace) {
    this.#target = target;
    this.#netns = netns;
  }

  async remember(): Promise<void> {
    this.#inodes = await this.#established();
  }

  async remaining(): Promise<number> {
    if (this.#inodes.size === 0) return 0;
    const now = await this.#established();
    return [...this.#inodes].filter((inode) => now.has(inode)).length;
  }

  async #established(): Promise<ReadonlySet<string>> {
    const text = ["tcp", "tcp6"].map((name) => readProcNet(this.#netns, name)).join("\n");
    const inodes = new Set(parseEstablished(text));
    if (this.#target.kind === "netns") return inodes;
    const owned = socketInodes(this.#target.path);
    return new Set([...inodes].filter((inode) => owned.has(inode)));
  }
}

/** Socket inodes of established connections; 0 is a socket without an owner. */
export function parseEstablished(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === ESTABLISHED && fields[9] !== undefined && fields[9] !== "0")
    .map((fields) => fields[9] ?? "");
}

/** Every socket that a process of the cgroup, or of one below, has open. */
function socketInodes(cgroup: string): Set<string> {
  const found = new Set<string>();
  for (const pid of pidsBelow(cgroup)) {
    for (const link of openFiles(pid)) {
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      if (inode !== undefined) found.add(inode);
    }
  }
  return found;
}

function pidsBelow(cgroup: string): string[] {
  if (!existsSync(cgroup)) return [];
  const own = readFileSync(join(cgroup, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
  const below = readdirSync(cgroup, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...own, ...below.flatMap((entry) => pidsBelow(join(cgroup, entry.name)))];
}

function openFiles(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    // The process, or one of its files, has gone meanwhile.
    return [];
  }
}
