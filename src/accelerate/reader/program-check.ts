// SPDX-License-Identifier: Apache-2.0
import { readFileSync, readlinkSync, statSync } from "node:fs";
import { type FileIdentity, identityOf, withFile } from "./file-identity.ts";
import { isHaproxy, neverSplices } from "./haproxy.ts";
import { type FileRole, type SpliceAbility, spliceAbility } from "./splice-ability.ts";

/** Libraries can come at any time (dlopen); a process is looked at again for a connection that comes after so long. */
const LOOK_AGAIN_MS = 10_000;
/** Files, or processes. What was looked at first is forgotten first. */
const MOST_REMEMBERED = 4096;

/** What is known of one process. */
interface Look {
  readonly executable: FileIdentity;
  readonly ability: SpliceAbility;
  readonly at: number;
}

const files = new Map<string, SpliceAbility>();
const processes = new Map<number, Look>();

/** A process, and what its program may do. */
export interface Program {
  readonly executable: FileIdentity;
  readonly ability: SpliceAbility;
}

/**
 * What the program of a process may do, from its executable and its libraries. Files are read once, the list of
 * libraries now and then; the executable is compared each time, for a pid can be another's by now.
 * Undefined where there is no such process.
 */
export function programOf(pid: number): Program | undefined {
  try {
    const executable = identityOf(statSync(`/proc/${pid}/exe`, { bigint: true }));
    const now = performance.now();
    const known = processes.get(pid);
    if (known?.executable === executable && now - known.at < LOOK_AGAIN_MS) return known;
    const look = { executable, ability: lookAt(pid, executable), at: now };
    remember(processes, pid, look);
    return look;
  } catch {
    return undefined;
  }
}

function lookAt(pid: number, executable: FileIdentity): SpliceAbility {
  const path = `/proc/${pid}/exe`;
  const own = abilityOf(path, "executable", executable);
  if (own === "unknown") return own;
  if (own === "may-splice" && !(isHaproxy(readlinkSync(path)) && neverSplices(pid))) return own;
  const libraries = librariesOf(pid).filter((library) => library.identity !== executable);
  return (
    libraries.map((library) => abilityOf(library.path, "library", library.identity)).find((a) => a !== "none") ?? "none"
  );
}

function abilityOf(path: string, role: FileRole, identity: FileIdentity): SpliceAbility {
  const key = `${role}:${identity}`;
  const known = files.get(key);
  if (known) return known;
  return withFile(path, (fd, opened) => {
    const ability = spliceAbility(fd, role);
    remember(files, `${role}:${opened}`, ability);
    return ability;
  });
}

/** Files that a process has mapped to execute, each once, by paths that lead to the very file. */
function librariesOf(pid: number): { readonly path: string; readonly identity: FileIdentity }[] {
  const found = new Map<string, string>();
  for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
    const [, range, device, inode, name] = /^(\S+) ..x. \S+ (\S+) (\d+) +(\/.*)$/.exec(line) ?? [];
    // Code that a program has made itself calls nothing that it could not call before.
    if (range === undefined || name === undefined || name.startsWith("/memfd:")) continue;
    found.set(`${device}:${inode}`, range);
  }
  return [...found.values()].map((range) => {
    // Addresses are written without leading zeros here.
    const [from = "", to = ""] = range.split("-").map((address) => BigInt(`0x${address}`).toString(16));
    const path = `/proc/${pid}/map_files/${from}-${to}`;
    return { path, identity: identityOf(statSync(path, { bigint: true })) };
  });
}

function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.delete(key);
  map.set(key, value);
  if (map.size <= MOST_REMEMBERED) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
