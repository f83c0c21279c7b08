// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isLocked, readState, ScopeLock } from "../../../src/agent/scope-lock.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";

describe("the lock of an agent", () => {
  it("keeps a second one of its name out as long as it lasts, and takes its folder along", () => {
    using root = temporaryFolder();
    const lock = new ScopeLock("one", root.path);
    lock.claim(["netns:1"]);
    expect(() => new ScopeLock("one", root.path)).toThrow(`agent "one" is running already with pid ${process.pid}`);
    expect(isLocked(lock.directory)).toBe(true);
    lock[Symbol.dispose]();
    expect(existsSync(lock.directory)).toBe(false);
    expect(isLocked(lock.directory)).toBe(false);
    using again = new ScopeLock("one", root.path);
    expect(isLocked(again.directory)).toBe(true);
  });

  it("leaves behind what it tells of when that could not be given back", () => {
    using root = temporaryFolder();
    const lock = new ScopeLock("one", root.path);
    lock.claim(["netns:1"]);
    lock.save({ workloads: [], cgroups: ["/sys/fs/cgroup/x"] });
    lock.keep();
    lock[Symbol.dispose]();
    expect(isLocked(lock.directory)).toBe(false);
    expect(readState(lock.directory)).toMatchObject({ cgroups: ["/sys/fs/cgroup/x"], claims: ["netns:1"] });
  });

  it("takes no target where something is in force that needs no process", () => {
    using root = temporaryFolder();
    const trace = { workload: "web", target: "netns:7", netns: "/run/netns/web", passthroughAddress: false };
    const left = new ScopeLock("left", root.path);
    left.claim(["netns:7"]);
    left.save({ workloads: [trace], cgroups: [] });
    left.keep();
    left[Symbol.dispose]();
    using standing = new ScopeLock("one", root.path, (directory) => readState(directory)?.workloads[0]);
    standing.claim(["netns:8"]);
    expect(() => standing.claim(["netns:8", "netns:7"])).toThrow(
      'netns:7 is intercepted by rules applied by hand, workload "web", already: shunt rules remove takes them away',
    );
    using heedless = new ScopeLock("two", root.path);
    heedless.claim(["netns:7"]);
  });

  it("reads what another version wrote with fewer fields", () => {
    using root = temporaryFolder();
    using other = new ScopeLock("other", root.path);
    writeFileSync(join(other.directory, "state.json"), JSON.stringify({ pid: 7 }));
    expect(readState(other.directory)).toEqual({ pid: 7, claims: [], workloads: [], cgroups: [] });
    using lock = new ScopeLock("one", root.path);
    lock.claim(["netns:1"]);
    const empty = join(root.path, "empty");
    mkdirSync(empty);
    expect(readState(empty)).toBeUndefined();
  });
});
