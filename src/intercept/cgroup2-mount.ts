// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync } from "node:fs";
import { loadAddon } from "../native/load-addon.ts";
import { findCgroup2 } from "../util/mountinfo.ts";

const PLACE = "/run/shunt-cgroup2";
/** How a mount of ours is known in mountinfo, whichever Shunt made it. */
const OUR_SOURCE = "shunt";
/** <linux/mount.h>: MS_NOSUID | MS_NODEV | MS_NOEXEC. */
const MOUNT_FLAGS = 2 | 4 | 8;

/**
 * The cgroup2 file system, mounted where there was none (cgroup v1 only): its hierarchy exists in every kernel that has
 * cgroups, and every process is in it. Each user holds a directory open, so that of several Shunts only the last
 * one unmounts. Where it cannot be mounted, whoever needs it says so.
 */
export class Cgroup2Mount implements Disposable {
  #hold: number | undefined;

  constructor() {
    if (!findCgroup2()) mountOurs();
    if (isOurs()) this.#hold = openSync(PLACE, "r");
  }

  [Symbol.dispose](): void {
    if (this.#hold === undefined) return;
    closeSync(this.#hold);
    this.#hold = undefined;
    // EBUSY: another Shunt holds it and will unmount.
    if (isOurs() && loadAddon().unmount(PLACE, 0) === 0 && existsSync(PLACE)) rmdirSync(PLACE);
  }
}

function mountOurs(): void {
  try {
    mkdirSync(PLACE, { recursive: true });
  } catch {
    // Not for us to make; then the mount is not either.
    return;
  }
  if (loadAddon().mount(OUR_SOURCE, PLACE, "cgroup2", MOUNT_FLAGS, "") < 0) rmdirSync(PLACE);
}

function isOurs(): boolean {
  const mount = findCgroup2();
  return mount?.source === OUR_SOURCE && mount.mountPoint === PLACE;
}
