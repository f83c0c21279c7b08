// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cgroupPathIn, toCgroupDirectory, toCgroupMatchPath } from "../../../../src/intercept/iptables/cgroup-path.ts";
import { renderRule } from "../../../../src/intercept/iptables/rule-text.ts";

const hybrid = { mountPoint: "/sys/fs/cgroup/unified", root: "/" };

describe("the path a rule matches", () => {
  it("counts from the root of the hierarchy", () => {
    expect(toCgroupMatchPath("/sys/fs/cgroup/unified/a/b", hybrid)).toBe("/a/b");
    expect(toCgroupMatchPath("/sys/fs/cgroup/unified/a/", hybrid)).toBe("/a");
    expect(toCgroupMatchPath("/sys/fs/cgroup/unified", hybrid)).toBe("/");
    expect(toCgroupMatchPath("/mnt/x", { mountPoint: "/mnt", root: "/kubepods" })).toBe("/kubepods/x");
  });

  it("is refused outside of the mount and beyond what a rule can hold", () => {
    expect(() => toCgroupMatchPath("/sys/fs/cgroup/memory/a", hybrid)).toThrow(/not below the cgroup2 mount/);
    expect(() => toCgroupMatchPath(`/sys/fs/cgroup/unified/${"x".repeat(511)}`, hybrid)).toThrow(
      /longer than the 511 bytes/,
    );
    expect(() => toCgroupMatchPath("/sys/fs/cgroup/unified/..a", hybrid)).not.toThrow();
  });

  it("leads back to its directory", () => {
    for (const mount of [hybrid, { mountPoint: "/mnt", root: "/kubepods" }]) {
      const directory = `${mount.mountPoint}/a/b`;
      expect(toCgroupDirectory(toCgroupMatchPath(directory, mount), mount)).toBe(directory);
    }
    expect(toCgroupDirectory("/other", { mountPoint: "/mnt", root: "/kubepods" })).toBeUndefined();
  });

  it("is found in a rule however it is written", () => {
    expect(cgroupPathIn("-A X -m cgroup --path shunt/a -j RETURN")).toBe("/shunt/a");
    expect(cgroupPathIn("-A X -p tcp -j RETURN")).toBeUndefined();
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 30 }), (name) => {
        const path = `/${name.replaceAll("\n", "")}`;
        const line = renderRule("X", { match: ["-m", "cgroup", "--path", path], target: ["-j", "RETURN"] }, "w");
        expect(cgroupPathIn(line)).toBe(path);
      }),
    );
  });
});
