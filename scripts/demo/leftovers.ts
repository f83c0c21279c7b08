// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { takeTraces } from "../test/leftovers.ts";
import { SHUNT } from "./agent.ts";
import type { Processes } from "./processes.ts";

/** What a run of the demo has left on the machine: everything with its name, and every process with its mark. */
export function leftoversOf(id: string, mark: string): readonly string[] {
  return Object.entries(takeTraces(mark)).flatMap(([kind, lines]) =>
    lines.filter((line) => kind === "process" || line.includes(id)).map((line) => `${kind} ${line}`),
  );
}

/** Takes away what demos left that were killed by SIGKILL; the kernel has ended their processes. Gives their ids. */
export async function removeOrphans(processes: Processes): Promise<readonly string[]> {
  const names = ["/run/netns", "/run/shunt", tmpdir()].flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((name) => ({ folder, name })) : [],
  );
  const orphans = new Set<string>();
  for (const { folder, name } of names) {
    const [id, pid = ""] = /^shunt-demo-(\d+)/.exec(name) ?? [];
    if (id === undefined || isRunningDemo(pid)) continue;
    orphans.add(id);
    if (folder === "/run/netns") await processes.step(["ip", "netns", "del", name]);
    else if (folder === "/run/shunt") await processes.step([...SHUNT, "clean", "--name", name]);
    else rmSync(join(folder, name), { recursive: true, force: true });
  }
  return [...orphans];
}

/** Another process may have got the number of one that was killed, this one even. */
function isRunningDemo(pid: string): boolean {
  if (Number(pid) === process.pid) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("demo/main.ts");
  } catch {
    return false; // no such process
  }
}
