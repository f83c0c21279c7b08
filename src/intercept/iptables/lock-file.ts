// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** Where iptables-legacy has its lock (configure --with-xt-lock-name); opened for writing by every change. */
const LOCK_FILE = "/run/xtables.lock";

/**
 * Runs `work` with the environment in which iptables-legacy can take its lock. Where the usual file can't be opened,
 * in a container with a read-only /run, it is one of our own: processes of ours are kept apart by the lock on the
 * namespace already, and others by the kernel, which refuses a table that has changed meanwhile.
 */
export async function withLockFile<T>(work: (env: Readonly<Record<string, string>>) => Promise<T>): Promise<T> {
  if (process.env["XTABLES_LOCKFILE"] !== undefined || isWritable(LOCK_FILE)) return work({});
  const folder = mkdtempSync(join(scratchFolder(), "shunt-xtables-"));
  try {
    return await work({ XTABLES_LOCKFILE: join(folder, "lock") });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function scratchFolder(): string {
  return [tmpdir(), "/dev/shm"].find((folder) => isWritable(folder)) ?? tmpdir();
}

function isWritable(path: string): boolean {
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
