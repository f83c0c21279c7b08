// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import type { RulesName } from "../intercept/backend.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { ShuntError } from "../util/shunt-error.ts";

/** Another agent runs that this one would collide with; the message names it and its pid. */
export class ScopeTakenError extends ShuntError<"ERR_SCOPE_TAKEN"> {}

/** What one workload leaves on the machine when its agent is killed. */
export interface WorkloadTrace {
  /** Its name, which its iptables rules carry. */
  readonly workload: string;
  /** `netns:<inode>` or `cgroup:<path>`. */
  readonly target: string;
  /** Path of the namespace that rules, routes and addresses are in. */
  readonly netns: string;
  readonly passthroughAddress: boolean;
  /** What net.ipv4.tcp_fwmark_accept was, where it was changed. */
  readonly fwmarkAccept?: string;
  /** Whose rules are there; absent while that may change. */
  readonly rules?: readonly RulesName[];
}

export interface ScopeState {
  readonly pid: number;
  /** Targets it has or is about to have. */
  readonly claims: readonly string[];
  readonly workloads: readonly WorkloadTrace[];
  /** cgroups that were made for it. */
  readonly cgroups: readonly string[];
}

type Standing = (directory: string) => WorkloadTrace | undefined;

const EWOULDBLOCK = 11;
const STATE = "state.json";
const RETRY_MS = 20;
/** Who asks whether an agent lives has its lock for a moment. */
const OWN_ATTEMPTS = 5;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/**
 * One agent per name, and one agent per workload. The lock is an flock, so that it goes with the process however that
 * ends; the file beside it says who has it and for what.
 */
export class ScopeLock implements Disposable {
  readonly directory: string;
  readonly #name: string;
  readonly #root: string;
  readonly #standing: Standing;
  readonly #fd: number;
  /** The file still tells of an earlier agent, that was killed. */
  #inherited: boolean;
  #claims: readonly string[] = [];

  /** `standing`: what a folder of nobody who runs tells of that is in force all the same. */
  constructor(name: string, root = RUNTIME_FOLDER, standing: Standing = () => undefined) {
    this.#name = name;
    this.#standing = standing;
    this.directory = join(root, name);
    this.#root = root;
    const { fd, status } = openLocked(root, this.directory);
    this.#fd = fd;
    this.#inherited = existsSync(join(this.directory, STATE));
    if (status === 0) return;
    closeSync(this.#fd);
    if (status !== -EWOULDBLOCK) check(status, "flock", this.directory);
    throw new ScopeTakenError(
      "ERR_SCOPE_TAKEN",
      `agent "${name}" is running already with pid ${readState(this.directory)?.pid ?? "unknown"}`,
    );
  }

  /** The folder still tells of an earlier process of this name, that was killed. */
  get inherited(): boolean {
    return this.#inherited;
  }

  /**
   * Makes the targets this agent's, in place of those it had. Throws a ScopeTakenError when a live agent has one, or
   * something is in force there that needs none.
   */
  claim(targets: readonly string[]): void {
    // The lock of all agents, so that of several only one at a time looks whether a target is free and takes it.
    withRootLock(this.#root, () => {
      this.#refuseOverlap(this.#root, targets);
      this.#claims = targets;
      // What an agent that was killed has left is still the same.
      const { workloads = [], cgroups = [] } = readState(this.directory) ?? {};
      this.#write({ workloads, cgroups });
    });
  }

  /** What `clean` and the next agent need to know. */
  save(state: Pick<ScopeState, "workloads" | "cgroups">): void {
    this.#write(state);
    this.#inherited = false;
  }

  /** The file stays when this is disposed of: not everything that it tells of has been given back. */
  keep(): void {
    this.#inherited = true;
  }

  #refuseOverlap(root: string, targets: readonly string[]): void {
    for (const other of readdirSync(root)) {
      const directory = join(root, other);
      if (other === this.#name) continue;
      if (!isLocked(directory)) {
        this.#refuseStanding(directory, targets);
        continue;
      }
      const state = readState(directory);
      const shared = state?.claims.find((target) => targets.includes(target));
      if (shared === undefined) continue;
      throw new ScopeTakenError(
        "ERR_SCOPE_TAKEN",
        `${shared} is intercepted by agent "${other}", pid ${state?.pid}, already`,
      );
    }
  }

  #refuseStanding(directory: string, targets: readonly string[]): void {
    const standing = this.#standing(directory);
    if (!standing || !targets.includes(standing.target)) return;
    throw new ScopeTakenError(
      "ERR_SCOPE_TAKEN",
      `${standing.target} is intercepted by rules applied by hand, workload "${standing.workload}", already: shunt rules remove takes them away`,
    );
  }

  #write(state: Pick<ScopeState, "workloads" | "cgroups">): void {
    const file = join(this.directory, STATE);
    const whole: ScopeState = { pid: process.pid, claims: this.#claims, ...state };
    writeFileSync(`${file}.new`, JSON.stringify(whole));
    renameSync(`${file}.new`, file);
  }

  [Symbol.dispose](): void {
    try {
      if (!this.#inherited) withRootLock(this.#root, () => rmSync(this.directory, { recursive: true, force: true }));
    } finally {
      closeSync(this.#fd);
    }
  }
}

/** One at a time of all agents. */
function withRootLock(root: string, work: () => void): void {
  const fd = openSync(root, "r");
  try {
    check(lockPatiently(fd, 500), "flock", root);
    work();
  } finally {
    closeSync(fd);
  }
}

/**
 * The folder's lock file, made where there is none, and what flock says of it. An agent that ends removes both under the
 * root's lock, so that nobody ends up with the lock of a file that is not there any more.
 */
function openLocked(root: string, directory: string): { readonly fd: number; readonly status: number } {
  mkdirSync(root, { recursive: true, mode: 0o755 });
  for (let attempt = 1; ; attempt++) {
    let fd = -1;
    let status = 0;
    withRootLock(root, () => {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      fd = openSync(join(directory, "lock"), "w", 0o600);
      status = loadAddon().lockFile(fd);
    });
    if (status !== -EWOULDBLOCK || attempt === OWN_ATTEMPTS) return { fd, status };
    closeSync(fd);
    Atomics.wait(PAUSE, 0, 0, RETRY_MS);
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

/** Who asks whether a scope is taken holds the lock for a moment. */
function lockPatiently(fd: number, attempts: number): number {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const status = loadAddon().lockFile(fd);
    if (status !== -EWOULDBLOCK) return status;
    Atomics.wait(PAUSE, 0, 0, RETRY_MS);
  }
  return -EWOULDBLOCK;
}

/** Whether a live agent holds the scope. */
export function isLocked(directory: string): boolean {
  let fd: number;
  try {
    fd = openSync(join(directory, "lock"), "r");
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  try {
    return loadAddon().lockFile(fd) === -EWOULDBLOCK;
  } finally {
    closeSync(fd);
  }
}

/** The process that runs and has a target; undefined when nobody has. */
export function holderOf(
  target: string,
  root = RUNTIME_FOLDER,
): { readonly name: string; readonly pid: number } | undefined {
  const names = existsSync(root) ? readdirSync(root) : [];
  for (const name of names) {
    const state = readState(join(root, name));
    if (state?.claims.includes(target) && isLocked(join(root, name))) return { name, pid: state.pid };
  }
  return undefined;
}

/** What the folder tells; undefined where it tells nothing. */
export function readState(directory: string): ScopeState | undefined {
  let text: string;
  try {
    text = readFileSync(join(directory, STATE), "utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  // An earlier version may have written less.
  const { pid = 0, claims = [], workloads = [], cgroups = [] } = JSON.parse(text) as Partial<ScopeState>;
  return { pid, claims, workloads, cgroups };
}
