// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { removeCgroup } from "../intercept/probe/scratch-cgroup.ts";
import { isAbandoned } from "../intercept/probe/scratch-name.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import type { Attempt } from "./undo-trace.ts";

/** Removes the cgroups, with whoever is still in them, and the pins of probes that were killed. */
export async function cleanProbes(bpffs: string | undefined, attempt: Attempt): Promise<void> {
  for (const path of abandoned(findCgroup2()?.mountPoint)) {
    await attempt({ kind: "cgroup", name: path }, async () => {
      await removeCgroup(path);
      return true;
    });
  }
  for (const path of abandoned(bpffs)) {
    await attempt({ kind: "pin", name: path }, () => {
      unlinkSync(path);
      return true;
    });
  }
}

function abandoned(directory: string | undefined): string[] {
  if (directory === undefined || !existsSync(directory)) return [];
  return readdirSync(directory)
    .filter(isAbandoned)
    .sort()
    .map((name) => join(directory, name));
}
