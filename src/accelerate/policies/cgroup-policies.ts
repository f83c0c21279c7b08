// SPDX-License-Identifier: Apache-2.0
/** Programs that decide about packets of a cgroup (systemd's IPAddressDeny, a CNI's). */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AttachType } from "../../bpf/attach-type.ts";
import { loadAddon } from "../../native/load-addon.ts";

/** BPF_F_QUERY_EFFECTIVE, <linux/bpf.h>: with those of all ancestors. */
const QUERY_EFFECTIVE = 1;
const HOOKS = [AttachType.CgroupInetIngress, AttachType.CgroupInetEgress];

/** Asks once for each cgroup, for as long as it is kept; keep it short. */
export class CgroupPolicies {
  readonly #root: string | undefined;
  readonly #found = new Map<string, boolean>();

  /** `root`: where the cgroup2 file system is mounted. */
  constructor(root: string | undefined) {
    this.#root = root;
  }

  /** Whether packets of a process meet a program; also where that cannot be found out, but not of one that is gone. */
  concern(pid: number): boolean {
    const path = cgroupOf(pid);
    if (path === undefined) return false;
    let found = this.#found.get(path);
    if (found === undefined) {
      found = hasPrograms(this.#root, path);
      this.#found.set(path, found);
    }
    return found;
  }

  forget(): void {
    this.#found.clear();
  }
}

function cgroupOf(pid: number): string | undefined {
  try {
    return /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "/";
  } catch {
    return undefined;
  }
}

function hasPrograms(root: string | undefined, path: string): boolean {
  // Without cgroup2 nobody can have attached any.
  if (root === undefined) return false;
  let fd: number;
  try {
    fd = openSync(join(root, path), "r");
  } catch {
    return true;
  }
  try {
    return HOOKS.some((hook) => {
      const found = loadAddon().queryPrograms(fd, hook, QUERY_EFFECTIVE);
      return typeof found === "number" || found.ids.length > 0;
    });
  } finally {
    closeSync(fd);
  }
}
