// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { findCgroup2 } from "../../src/util/mountinfo.ts";
import { eventually } from "./inbox.ts";
import { uniqueName } from "./shunt.ts";

/** A cgroup of the test, removed when the last of its processes has gone. */
export class TestCgroup implements AsyncDisposable {
  readonly path: string;

  /** At the root of the cgroup2 mount, or below another. */
  constructor(parent?: TestCgroup) {
    const root = findCgroup2()?.mountPoint;
    if (root === undefined) throw new Error("no cgroup2 file system is mounted");
    this.path = join(parent?.path ?? root, uniqueName("cgroup"));
    mkdirSync(this.path);
  }

  /** The command, in this cgroup from its first instruction on. */
  around(argv: readonly string[]): string[] {
    return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', this.path, ...argv];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const events = join(this.path, "cgroup.events");
    await eventually(() => !existsSync(events) || readFileSync(events, "utf8").includes("populated 0"));
    if (existsSync(this.path)) rmdirSync(this.path);
  }
}
