// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from "node:child_process";
import { type Dirent, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseMountinfo } from "../../src/util/mountinfo.ts";

/** What a run could leave on the machine, as lines by kind. */
export type Traces = Readonly<Record<string, readonly string[]>>;

const ourName = /^shunt/;
/** The cgroup of scripts/try-debootstrap.sh: what runs in there looks for its own leftovers. */
const elsewhere = /^fresh-/;

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // not there, gone meanwhile, or not ours to read
  }
}

/** Folders and files below `top` with a name of ours; `down` bounds the search. */
function named(top: string, down: number): string[] {
  return entriesOf(top).flatMap((entry) => {
    const path = join(top, entry.name);
    const open = entry.isDirectory() && down > 0 && !elsewhere.test(entry.name);
    const below = open ? named(path, down - 1) : [];
    return ourName.test(entry.name) ? [path, ...below] : below;
  });
}

/** Output of a tool without what changes by itself: counters, comments with times, life times. */
function outputOf(...command: string[]): string[] {
  const result = spawnSync(command[0] ?? "", command.slice(1), { encoding: "utf8" });
  return (result.stdout ?? "")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => line.replace(/counter packets \d+ bytes \d+|\[\d+:\d+\]|(valid|preferred)_lft \w+/g, "").trimEnd());
}

/** Processes that inherited the mark of this run, wherever they went, with their command lines. */
function marked(mark: string): (readonly [pid: number, command: string])[] {
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark)) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
        return [[Number(pid), command] as const];
      } catch {
        return []; // ended meanwhile, or not ours to read
      }
    });
}

/** Ends every process of this run that is not gone after so long, by SIGKILL, those as well that come while it looks. */
export async function endAll(mark: string, patienceMs: number): Promise<void> {
  const until = performance.now() + patienceMs;
  while (performance.now() < until && marked(mark).length > 0) await new Promise((resolve) => setTimeout(resolve, 200));
  // A zombie has no environment left to read, so that this comes to an end.
  for (let all = marked(mark); all.length > 0; all = marked(mark)) {
    for (const [pid] of all) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // Ended meanwhile.
      }
    }
  }
}

/**
 * Looks at everything Shunt and its tests could leave behind in the root namespaces.
 * @param mark NAME=VALUE in the environment of every process of this run
 */
export function takeTraces(mark: string): Traces {
  const mounts = parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8"));
  const at = (type: string) => mounts.filter((mount) => mount.fileSystem === type).map((mount) => mount.mountPoint);
  return {
    "network namespace": named("/run/netns", 0),
    "bpffs mount": at("bpf"),
    "cgroup2 mount": at("cgroup2"),
    pin: at("bpf").flatMap((path) => named(path, 4)),
    cgroup: at("cgroup2").flatMap((path) => named(path, 6)),
    "run-time file": [...named("/run", 0), ...named("/tmp", 0)],
    "nftables rule": outputOf("nft", "list", "ruleset"),
    "iptables rule": ["iptables-legacy-save", "ip6tables-legacy-save"].flatMap((tool) => outputOf(tool)),
    "routing rule": ["-4", "-6"].flatMap((family) => outputOf("ip", family, "rule").map((line) => `${family} ${line}`)),
    interface: existsSync("/sys/class/net") ? readdirSync("/sys/class/net") : [],
    "address on lo": outputOf("ip", "-o", "address", "show", "dev", "lo"),
    process: marked(mark).map(([pid, command]) => `${pid} ${command}`),
  };
}

/** What is there after and was not there before, as lines for people. */
export function leftBehind(before: Traces, after: Traces): string[] {
  return Object.entries(after).flatMap(([kind, lines]) => {
    const known = [...(before[kind] ?? [])];
    return lines.flatMap((line) => {
      const index = known.indexOf(line);
      if (index < 0) return [`${kind}: ${line}`];
      known.splice(index, 1);
      return [];
    });
  });
}
