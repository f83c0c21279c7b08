// SPDX-License-Identifier: Apache-2.0
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";

/** Below the bpffs mount; one directory for each instance and one pin that all of them share. */
export const PIN_ROOT = "shunt";
const CLAIMS = "claims";
const LOCK_RETRY_MS = 5;
/** Loading programs on a busy machine takes seconds, and several may queue. */
const LOCK_DEADLINE_MS = 60_000;

/**
 * Where an instance's kernel objects live beyond its process:
 * `<bpffs>/shunt/<instance>/{maps,links,workloads/<slot>}` and `<bpffs>/shunt/claims`.
 */
export class PinDirectory {
  readonly path: string;
  readonly root: string;

  constructor(bpffs: string, instance: string) {
    this.root = join(bpffs, PIN_ROOT);
    this.path = join(this.root, instance);
  }

  get exists(): boolean {
    return existsSync(this.maps);
  }

  get maps(): string {
    return join(this.path, "maps");
  }

  get links(): string {
    return join(this.path, "links");
  }

  get claims(): string {
    return join(this.root, CLAIMS);
  }

  workload(slot: number): string {
    return join(this.path, "workloads", String(slot));
  }

  workloads(): number[] {
    const directory = join(this.path, "workloads");
    return existsSync(directory) ? readdirSync(directory).map(Number) : [];
  }

  create(): void {
    for (const directory of [this.maps, this.links, join(this.path, "workloads")])
      mkdirSync(directory, { recursive: true });
  }

  /**
   * Runs `work` while no other process makes or removes pins that instances share. The lock is on the mount's root, which
   * stays when the last instance goes. Not to be nested.
   */
  exclusively(work: () => void): void {
    const mount = dirname(this.root);
    const fd = openSync(mount, "r");
    try {
      const pause = new Int32Array(new SharedArrayBuffer(4));
      const deadline = Date.now() + LOCK_DEADLINE_MS;
      for (;;) {
        const status = loadAddon().lockFile(fd);
        if (status !== -constants.errno.EWOULDBLOCK || Date.now() > deadline) {
          check(status, "flock", mount);
          break;
        }
        Atomics.wait(pause, 0, 0, LOCK_RETRY_MS);
      }
      work();
    } finally {
      closeSync(fd);
    }
  }

  /** Unpins everything of the instance; the shared pin and its directory go with the last instance. */
  remove(): void {
    this.exclusively(() => this.#remove());
  }

  #remove(): void {
    removeTree(this.path);
    if (!existsSync(this.root) || readdirSync(this.root).some((name) => name !== CLAIMS)) return;
    if (existsSync(this.claims)) unlinkSync(this.claims);
    rmdirSync(this.root);
  }
}

/** Names of the instances that have pins, live or left behind. */
export function pinnedInstances(bpffs: string): string[] {
  const root = join(bpffs, PIN_ROOT);
  return existsSync(root) ? readdirSync(root).filter((name) => name !== CLAIMS) : [];
}

/** bpffs has no rename across directories and no recursive removal of its own. */
export function removeTree(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) removeTree(child);
    else unlinkSync(child);
  }
  rmdirSync(path);
}
