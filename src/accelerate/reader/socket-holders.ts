// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { linkOf } from "./proc-link.ts";

/** Of all processes together, in one search; a node has fewer. */
const MOST_LINKS = 500_000;

/**
 * Processes that hold a socket, by its inode. The one that is told first answers alone if it holds it: what it shares
 * by fork is shared with the same program. Otherwise all processes of the network namespace are asked.
 *
 * @param netns inode number of the network namespace
 * @param opener process that may hold it; 0 where nobody knows
 */
export function holdersOf(inode: bigint, netns: bigint, opener: number): number[] {
  const budget = { links: MOST_LINKS };
  if (opener > 0 && holds(opener, inode, budget)) return [opener];
  const namespace = `net:[${netns}]`;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => linkOf(`/proc/${pid}/ns/net`) === namespace && holds(pid, inode, budget));
}

function holds(pid: number, inode: bigint, budget: { links: number }): boolean {
  const wanted = `socket:[${inode}]`;
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fd`);
  } catch {
    // Gone, or nobody's business.
    return false;
  }
  // The youngest connections most often have the highest numbers.
  for (const fd of fds.reverse()) {
    if (budget.links-- <= 0) return false;
    if (linkOf(`/proc/${pid}/fd/${fd}`) === wanted) return true;
  }
  return false;
}
