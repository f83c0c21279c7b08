// SPDX-License-Identifier: Apache-2.0
import { closeSync, openSync } from "node:fs";
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { loadAddon } from "../../native/load-addon.ts";
import { errnoName } from "../../native/status.ts";
import { IptablesError } from "./iptables-error.ts";

const RETRY_MS = 20;
const DEADLINE_MS = 20_000;

/**
 * Runs `work` while holding a flock on the namespace itself: the nsfs inode is the same for every path and
 * process, so that two of ours can't both read the rules and then both write them.
 */
export async function withNetnsLock<T>(netnsPath: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const addon = loadAddon();
  let fd: number;
  try {
    fd = openSync(netnsPath, "r");
  } catch (error) {
    throw new IptablesError("ERR_IPTABLES_APPLY", `network namespace ${netnsPath} can't be opened`, { cause: error });
  }
  try {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      const status = addon.lockFile(fd);
      if (status >= 0) break;
      if (status !== -constants.errno.EWOULDBLOCK) {
        throw new IptablesError(
          "ERR_IPTABLES_APPLY",
          `network namespace ${netnsPath} can't be locked: ${errnoName(status)}`,
        );
      }
      if (Date.now() > deadline) {
        throw new IptablesError(
          "ERR_IPTABLES_BUSY",
          `network namespace ${netnsPath} stays locked by another process of ours`,
        );
      }
      await delay(RETRY_MS, undefined, signal && { signal });
    }
    return await work();
  } finally {
    // Closing the last descriptor of the open file releases the lock.
    closeSync(fd);
  }
}
