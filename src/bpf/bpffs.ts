// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, statfsSync } from "node:fs";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { type Mount, mountsOfType, readMounts } from "../util/mountinfo.ts";
import { ShuntError } from "../util/shunt-error.ts";

/** BPF_FS_MAGIC, <linux/magic.h>. */
const BPF_FS_MAGIC = 0xcafe4a11;
/** Where systemd mounts it; sysfs has the empty directory wherever the kernel has BPF. */
const USUAL_PLACE = "/sys/fs/bpf";
const OTHER_PLACE = "/run/shunt/bpf";
/** How a mount of ours is known in mountinfo, whichever Shunt made it. */
const OUR_SOURCE = "shunt";
/** Iterators that kernels with CONFIG_BPF_PRELOAD put into every new bpffs (kernel/bpf/preload). */
const PRELOADED: ReadonlySet<string> = new Set(["maps.debug", "progs.debug"]);
/** <linux/mount.h>: MS_NOSUID | MS_NODEV | MS_NOEXEC. */
const MOUNT_FLAGS = 2 | 4 | 8;

/** No bpffs is mounted and none can be: the message says why. */
export class BpffsError extends ShuntError<"ERR_BPF_FS"> {}

/**
 * The BPF file system, mounted where there was none. Every user holds an open directory in it, so that of
 * several Shunts only the last one can unmount; and only a mount that a Shunt made, and that has no pins.
 */
export class Bpffs implements Disposable {
  readonly path: string;
  /** Mounted by a Shunt, this one or another. */
  readonly ours: boolean;
  #hold: number | undefined;

  private constructor(path: string, ours: boolean) {
    this.path = path;
    this.ours = ours;
    this.#hold = openSync(path, "r");
  }

  /** A writable bpffs, if one is mounted. */
  static find(): Bpffs | undefined {
    const [mount] = usable(readMounts());
    return mount && new Bpffs(mount.mountPoint, mount.source === OUR_SOURCE);
  }

  /** Finds a writable bpffs, or mounts one. Throws a BpffsError. */
  static open(): Bpffs {
    const found = Bpffs.find();
    if (found) return found;
    const path = existsSync(USUAL_PLACE) ? USUAL_PLACE : OTHER_PLACE;
    try {
      mkdirSync(path, { recursive: true });
      check(loadAddon().mount(OUR_SOURCE, path, "bpf", MOUNT_FLAGS, "mode=0700"), "mount", `bpf on ${path}`);
    } catch (cause) {
      throw new BpffsError("ERR_BPF_FS", `no bpffs is mounted, and it can't be: ${(cause as Error).message}`, {
        cause,
      });
    }
    return new Bpffs(path, true);
  }

  [Symbol.dispose](): void {
    if (this.#hold === undefined) return;
    closeSync(this.#hold);
    this.#hold = undefined;
    if (!this.ours || readdirSync(this.path).some((name) => !PRELOADED.has(name))) return;
    // EBUSY: another Shunt holds it and will unmount.
    const status = loadAddon().unmount(this.path, 0);
    if (status === 0 && this.path === OTHER_PLACE) rmdirSync(this.path);
  }
}

/** The usual place first: what other tools pin is there, and `bpftool` looks there. */
function usable(mounts: readonly Mount[]): Mount[] {
  return mountsOfType(mounts, "bpf")
    .filter((mount) => !mount.options.includes("ro") && statfsSync(mount.mountPoint).type === BPF_FS_MAGIC)
    .sort((a, b) => Number(b.mountPoint === USUAL_PLACE) - Number(a.mountPoint === USUAL_PLACE));
}
