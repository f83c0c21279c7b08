// SPDX-License-Identifier: Apache-2.0
/** What `clean` has to know of what `shunt rules apply` left in force: it is meant to stay when nobody runs. */
import { statSync } from "node:fs";
import { readState, type WorkloadTrace } from "../scope-lock.ts";

/** The workload that a folder of `rules` tells of, while its namespace is there; undefined when there is nothing to keep. */
export function handInForce(directory: string): WorkloadTrace | undefined {
  const [trace] = readState(directory)?.workloads ?? [];
  return trace && isThere(trace) ? trace : undefined;
}

function isThere({ target, netns }: WorkloadTrace): boolean {
  const inode = statSync(netns, { bigint: true, throwIfNoEntry: false })?.ino;
  return inode !== undefined && (!target.startsWith("netns:") || target === `netns:${inode}`);
}
