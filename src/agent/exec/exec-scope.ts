// SPDX-License-Identifier: Apache-2.0
import { ScopeLock, ScopeTakenError } from "../scope-lock.ts";
import { CgroupExistsError, ScratchCgroup } from "./scratch-cgroup.ts";

/** Each leftover of the same pid takes one. */
const NAMES = 100;

/** What one `exec` has to itself. Whoever takes it disposes of both, the cgroup first. */
export interface ExecScope {
  readonly name: string;
  readonly lock: ScopeLock;
  readonly cgroup: ScratchCgroup;
}

/**
 * `exec-<pid>`, or with a number behind it where an `exec` that was killed has left that name (pids come again, and
 * what it left belongs to `clean`), or one in another pid namespace has it.
 */
export function takeExecScope(pid: number, parentCgroup: string): ExecScope {
  for (let number = 1; ; number++) {
    const name = number === 1 ? `exec-${pid}` : `exec-${pid}-${number}`;
    try {
      const scope = tryName(name, parentCgroup);
      if (scope) return scope;
    } catch (error) {
      if (number === NAMES || !(error instanceof ScopeTakenError || error instanceof CgroupExistsError)) throw error;
    }
  }
}

/** Undefined where the name still stands for what another left. */
function tryName(name: string, parentCgroup: string): ExecScope | undefined {
  const lock = new ScopeLock(name);
  try {
    if (!lock.inherited) return { name, lock, cgroup: new ScratchCgroup(`shunt-${name}`, parentCgroup) };
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  lock[Symbol.dispose]();
  return undefined;
}
