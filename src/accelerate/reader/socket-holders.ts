// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import { linkOf } from "./proc-link.ts";

/** Of all processes together, in one search; a node has fewer. */
const MOST_LINKS = 500_000;

/**
 * Processes that hold a socket, by its inode. The one that is told first answers alone if it holds it, and so does a
 * child of it: what is shared by fork is shared with the same program. Otherwise all processes of the network
 * namespace are asked, and this one, whose proxies have sockets in it.
 *
 * @param netns inode number of the network namespace
 * @param opener process that may hold it; 0 where nobody knows
 */
export function holdersOf(inode: bigint, netns: bigint, opener: number): number[] {
  const budget = { links: MOST_LINKS };
  const likely = opener > 0 ? [opener, ...childrenOf(opener)] : [];
  const found = likely.find((pid) => holds(pid, inode, budget));
  if (found !== undefined) return [found];
  const namespace = `net:[${netns}]`;
  const inside = (pid: number): boolean => pid === process.pid || linkOf(`/proc/${pid}/ns/net`) === namespace;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => inside(pid) && holds(pid, inode, budget));
}

/** The youngest first: it is the one that serves the latest connection of a program that forks for each. */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "latin1").split(" "))
      .filter((child) => child !== "")
      .map(Number)
      .reverse();
  } catch {
    // Gone, or a kernel without CONFIG_PROC_CHILDREN.
    return [];
  }
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
