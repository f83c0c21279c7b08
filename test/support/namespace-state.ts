// SPDX-License-Identifier: Apache-2.0
/** What an agent could have changed on the machine, to be compared before and after. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findCommand } from "../../scripts/setup/machine.mjs";
import { parseMountinfo } from "../../src/util/mountinfo.ts";
import type { NetLab } from "./net-lab.ts";
import { runCommand } from "./shunt.ts";

/** Everything of both namespaces that an agent could have changed, as the tools print it. */
export async function namespaceState(lab: NetLab): Promise<Record<string, string>> {
  const isInstalled = (program: string): boolean => findCommand(program) !== undefined;
  const tools = [
    ["iptables-save"],
    ["ip6tables-save"],
    ...["iptables-legacy-save", "ip6tables-legacy-save"].filter(isInstalled).map((program) => [program]),
    ...["nft"].filter(isInstalled).map((program) => [program, "list", "tables", "inet"]),
    ["ip", "-4", "rule"],
    ["ip", "-6", "rule"],
    ["ip", "-4", "route", "show", "table", "all"],
    ["ip", "-6", "route", "show", "table", "all"],
    ["ip", "-o", "address"],
    ["cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"],
    ["ss", "-Hltun"],
  ];
  const state: Record<string, string> = {};
  for (const node of [lab.client, lab.server]) {
    for (const argv of tools) {
      const { stdout } = await runCommand(argv, { netns: node.path });
      state[`${node.netns}: ${argv.join(" ")}`] = withoutNoise(stdout);
    }
  }
  return state;
}

/**
 * iptables-save prints time stamps and counters; tables and chains that hold nothing are the kernel's, made when the
 * first rule came, and gone with the namespace. Link-local addresses come when the kernel has looked for duplicates.
 */
function withoutNoise(text: string): string {
  return text
    .split("\n")
    .filter((line) => !/^(#|:[A-Z]+ ACCEPT|\*|COMMIT|$)|fe80::[0-9a-f]/.test(line))
    .map((line) => line.replace(/ expires \d+sec| (valid|preferred)_lft \w+/g, ""))
    .join("\n");
}

/** What carries the name outside of the namespaces: pins, folders, cgroups, mounted namespaces. */
export function tracesOf(name: string): string[] {
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  const folders = mounts.filter(({ fileSystem }) => fileSystem === "bpf" || fileSystem === "cgroup2");
  const roots = [...folders.map(({ mountPoint }) => mountPoint), "/run/shunt", "/run/netns"];
  return roots.flatMap((root) => [...below(root, 4)].filter((path) => path.slice(root.length).includes(name)));
}

function* below(folder: string, depth: number): Generator<string> {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    yield path;
    if (entry.isDirectory() && depth > 1) yield* below(path, depth - 1);
  }
}
