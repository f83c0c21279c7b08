// SPDX-License-Identifier: Apache-2.0
/** What benches left that were killed by SIGKILL; the kernel has ended their processes. */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import type { Processes } from "./processes.ts";
import { SHUNT } from "./tools.ts";

const NETNS_FOLDER = "/run/netns";

/** Begins the name of everything that the bench of this process makes. */
export function benchName(pid = process.pid): string {
  return `shunt-bench-${pid}`;
}

/** Names in these folders that a bench has given; those of running benches are left out. */
export function orphansIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => {
    const pid = /^shunt-bench-(\d+)(-|$)/.exec(name)?.[1];
    return pid !== undefined && !isRunningBench(pid);
  });
}

/** Takes it away; gives its names. */
export async function removeOrphans(processes: Processes): Promise<readonly string[]> {
  // Agents first: what they added is in the namespaces, which go last.
  const agents = orphansIn(RUNTIME_FOLDER);
  for (const name of agents) await processes.step([...SHUNT, "clean", "--name", name]);
  const cgroups = findCgroup2()?.mountPoint ?? "";
  const empty = cgroups === "" ? [] : orphansIn(cgroups);
  for (const name of empty) removeCgroup(join(cgroups, name));
  const namespaces = orphansIn(NETNS_FOLDER);
  for (const name of namespaces) await processes.step(["ip", "netns", "del", name]);
  const folders = orphansIn(tmpdir());
  for (const name of folders) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  return [...new Set([...agents, ...empty, ...namespaces, ...folders])];
}

function removeCgroup(directory: string): void {
  const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of below) removeCgroup(join(directory, name));
  rmdirSync(directory);
}

/** Another process may have got the number of one that was killed, this one even. */
function isRunningBench(pid: string): boolean {
  if (Number(pid) === process.pid) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes("bench");
  } catch {
    return false; // no such process
  }
}
