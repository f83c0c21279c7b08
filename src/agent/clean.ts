// SPDX-License-Identifier: Apache-2.0

import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Bpffs } from "../bpf/bpffs.ts";
import { RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import type { CleanOptions } from "../config/command-options.ts";
import type { CleanItem, CleanReport } from "../config/formats/clean-report.ts";
import { Cgroup2Mount } from "../intercept/cgroup2-mount.ts";
import { PinDirectory, pinnedInstances } from "../intercept/ebpf/pins.ts";
import { isRulesInstance } from "../intercept/ebpf/rules-instance.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { cleanProbes } from "./clean-probes.ts";
import { requirePrivileges } from "./require-privileges.ts";
import { handInForce } from "./rules/hand-in-force.ts";
import { isLocked, readState } from "./scope-lock.ts";
import { type Attempt, undoTrace } from "./undo-trace.ts";

/**
 * Removes what agents and `exec`s that are gone have left: pins (and with them the programs), rules, routes,
 * addresses, cgroups; with "all" also what killed probes have left. Throws ERR_CLEAN_RUNNING when the one asked for by
 * name still runs; with "all" live ones, and what `rules` has in force, are left alone and told as failed.
 */
export async function clean(options: CleanOptions): Promise<CleanReport> {
  requirePrivileges("clean");
  // Unmounts what an agent that was killed has mounted, once nobody uses it.
  using _cgroup2 = new Cgroup2Mount();
  // Where none is mounted nothing is pinned.
  using bpffs = Bpffs.find();
  const removed: CleanItem[] = [];
  const failed: (CleanItem & { reason: string })[] = [];
  for (const name of scopesToClean(options, bpffs?.path)) {
    const directory = join(RUNTIME_FOLDER, name);
    if (isLocked(directory)) {
      const reason = `agent "${name}" runs with pid ${readState(directory)?.pid ?? "unknown"}`;
      if (options.scope.kind === "agent") throw new ShuntError("ERR_CLEAN_RUNNING", `${reason}: stop it first`);
      failed.push({ kind: "agent", name, reason });
      continue;
    }
    const byHand = isRulesInstance(name) && options.scope.kind === "all" ? handInForce(directory) : undefined;
    if (byHand) {
      const reason = `in force for workload ${byHand.workload} in ${byHand.netns}: shunt rules remove, or clean --name ${name}`;
      failed.push({ kind: "rules", name, reason });
      continue;
    }
    await cleanScope(name, bpffs?.path, removed, failed);
  }
  if (options.scope.kind === "all") await cleanProbes(bpffs?.path, reportingTo(removed, failed));
  return { removed, failed };
}

function scopesToClean(options: CleanOptions, bpffs: string | undefined): string[] {
  if (options.scope.kind === "agent") return [options.scope.name];
  const running = existsSync(RUNTIME_FOLDER) ? readdirSync(RUNTIME_FOLDER, { withFileTypes: true }) : [];
  const folders = running.filter((entry) => entry.isDirectory() && entry.name !== "bpf").map((entry) => entry.name);
  return [...new Set([...(bpffs === undefined ? [] : pinnedInstances(bpffs)), ...folders])].sort();
}

function reportingTo(removed: CleanItem[], failed: (CleanItem & { reason: string })[]): Attempt {
  return async (item, action) => {
    try {
      if (await action()) removed.push(item);
    } catch (error) {
      failed.push({ ...item, reason: (error as Error).message });
    }
  };
}

async function cleanScope(
  name: string,
  bpffs: string | undefined,
  removed: CleanItem[],
  failed: (CleanItem & { reason: string })[],
): Promise<void> {
  const attempt = reportingTo(removed, failed);
  const failures = failed.length;
  const directory = join(RUNTIME_FOLDER, name);
  const state = readState(directory);
  if (bpffs !== undefined) {
    const pins = new PinDirectory(bpffs, name);
    await attempt({ kind: "pin", name: pins.path }, () => {
      const present = existsSync(pins.path);
      pins.remove();
      return present;
    });
  }
  for (const workload of state?.workloads ?? []) await undoTrace(workload, attempt);
  for (const cgroup of state?.cgroups ?? []) {
    await attempt({ kind: "cgroup", name: cgroup }, () => {
      if (!existsSync(cgroup)) return false;
      rmdirSync(cgroup);
      return true;
    });
  }
  // What could not be removed is found again by what the folder tells.
  if (failed.length > failures) return;
  await attempt({ kind: "folder", name: directory }, () => {
    const present = existsSync(directory);
    rmSync(directory, { recursive: true, force: true });
    return present;
  });
}
