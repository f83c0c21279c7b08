// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, rmdirSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findCgroup2 } from "../../util/mountinfo.ts";
import { ShuntError } from "../../util/shunt-error.ts";

const RELOOK_MS = 1000;

export class CgroupExistsError extends ShuntError<"ERR_CGROUP_EXISTS"> {}

/** The cgroup v2 directory this process is in, as seen through the cgroup2 mount. */
export function ownCgroup(): string {
  const mount = findCgroup2();
  if (!mount) throw new ShuntError("ERR_CGROUP_MISSING", "no cgroup2 file system is mounted");
  const line = readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .find((l) => l.startsWith("0::"));
  const path = line?.slice(3) ?? "/";
  const relative = mount.root !== "/" && path.startsWith(mount.root) ? path.slice(mount.root.length) : path;
  return join(mount.mountPoint, relative);
}

/**
 * A cgroup for one command and its descendants, below the caller's own, so that the innermost of nested ones
 * decides. Processes enter before they execute anything: sockets made earlier would not be intercepted on any kernel.
 */
export class ScratchCgroup implements AsyncDisposable {
  readonly path: string;

  /**
   * Throws a CgroupExistsError when there is one of that name, ERR_CGROUP_CREATE when the directory cannot be made, as
   * in a container with a read-only cgroup2.
   */
  constructor(name: string, parent = ownCgroup()) {
    this.path = join(parent, name);
    try {
      mkdirSync(this.path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "EEXIST")
        throw new CgroupExistsError("ERR_CGROUP_EXISTS", `the cgroup ${this.path} is there already`, { cause });
      throw new ShuntError("ERR_CGROUP_CREATE", `cannot create the cgroup ${this.path}: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  get populated(): boolean {
    return existsSync(this.path) && readFileSync(join(this.path, "cgroup.events"), "utf8").includes("populated 1");
  }

  processes(): number[] {
    return readFileSync(join(this.path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  }

  /** Resolves when the last process has left. */
  async empty(signal?: AbortSignal): Promise<void> {
    if (!this.populated) return;
    await new Promise<void>((resolve, reject) => {
      // kernfs tells inotify of changes of this file (kernel/cgroup/cgroup.c, cgroup_file_notify).
      const watcher = watch(join(this.path, "cgroup.events"));
      // Should a change ever go untold, a command must not be waited for that has gone.
      const again = setInterval(() => look(), RELOOK_MS);
      const finish = (done: () => void): void => {
        clearInterval(again);
        watcher.close();
        signal?.removeEventListener("abort", onAbort);
        done();
      };
      const onAbort = (): void => finish(() => reject(signal?.reason as Error));
      const look = (): void => {
        if (!this.populated) finish(resolve);
      };
      watcher.on("change", look);
      watcher.on("error", (error) => finish(() => reject(error)));
      signal?.addEventListener("abort", onAbort);
      look();
    });
  }

  /** Ends every process in it: cgroup.kill (≥ 5.14), before that one by one until none is left. */
  killAll(): void {
    const file = join(this.path, "cgroup.kill");
    if (existsSync(file)) {
      writeFileSync(file, "1");
      return;
    }
    for (let round = 0; round < 100 && this.populated; round++) {
      for (const pid of this.processes()) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It went by itself.
        }
      }
    }
  }

  /** Removes the directory; it must be empty of processes. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.empty();
    if (existsSync(this.path)) rmdirSync(this.path);
  }
}
