// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findCgroup2, type Mount } from "../../util/mountinfo.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { patienceMs } from "./outcome.ts";
import { scratchName } from "./scratch-name.ts";

/** An empty cgroup of one probe, directly below the root of the tree; gone when disposed. */
export class ScratchCgroup implements AsyncDisposable {
  readonly path: string;
  readonly mount: Mount;
  readonly fd: number;

  /** Throws ERR_PROBE_CGROUP when no cgroup2 is mounted, or the file system's own error. */
  constructor() {
    const mount = findCgroup2();
    if (mount === undefined) throw new ShuntError("ERR_PROBE_CGROUP", "no cgroup2 file system is mounted");
    this.mount = mount;
    this.path = join(mount.mountPoint, scratchName());
    mkdirSync(this.path);
    try {
      this.fd = openSync(this.path, "r");
    } catch (error) {
      rmdirSync(this.path);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.fd);
    await removeCgroup(this.path);
  }
}

/**
 * Ends whoever is still in it; the kernel lets go of a process a little after its parent has seen it end. Throws the
 * file system's error when that takes more than two seconds.
 */
export async function removeCgroup(path: string): Promise<void> {
  const deadline = Date.now() + patienceMs(2000);
  for (;;) {
    for (const pid of readFileSync(join(path, "cgroup.procs"), "utf8").split("\n")) kill(Number(pid));
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EBUSY" || Date.now() > deadline) throw error;
    }
    await sleep(5);
  }
}

function kill(pid: number): void {
  if (pid <= 0) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}
