// SPDX-License-Identifier: Apache-2.0
/** What `clean` and agents have to know of what `shunt rules apply` left in force: it is meant to stay when nobody runs. */
import { statSync } from "node:fs";
import { basename } from "node:path";
import { isRulesInstance } from "../../intercept/ebpf/rules-instance.ts";
import { readState, type WorkloadTrace } from "../scope-lock.ts";

/** The workload that a folder of `rules` tells of, while its namespace is there; undefined when there is nothing to keep. */
export function handInForce(directory: string): WorkloadTrace | undefined {
  const [trace] = readState(directory)?.workloads ?? [];
  return trace && isThere(trace) ? trace : undefined;
}

/** The same of any folder: those of agents tell of nothing that is meant to stay. */
export function standingByHand(directory: string): WorkloadTrace | undefined {
  return isRulesInstance(basename(directory)) ? handInForce(directory) : undefined;
}

function isThere({ target, netns }: WorkloadTrace): boolean {
  const inode = statSync(netns, { bigint: true, throwIfNoEntry: false })?.ino;
  return inode !== undefined && (!target.startsWith("netns:") || target === `netns:${inode}`);
}
