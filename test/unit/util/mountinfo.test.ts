// SPDX-License-Identifier: Apache-2.0
import { statfsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { findCgroup2, mountsOfType, parseMountinfo, readMounts } from "../../../src/util/mountinfo.ts";

const pure = `22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
`;
const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:7 master:2 propagate_from:1 - cgroup2 cgroup2 rw
`;
const container = `600 500 0:26 /kubepods/pod1/c1 /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
610 500 0:26 / /run/host-cgroup rw - cgroup2 cgroup rw
`;

describe("mountinfo", () => {
  it("reads every field, with any number of optional ones", () => {
    const [, , unified] = parseMountinfo(hybrid);
    expect(unified).toEqual({
      id: 41,
      parentId: 31,
      device: "0:38",
      root: "/",
      mountPoint: "/sys/fs/cgroup/unified",
      options: ["rw", "relatime"],
      fileSystem: "cgroup2",
      source: "cgroup2",
      superOptions: ["rw"],
    });
  });

  it("undoes the kernel's octal escapes", () => {
    const [mount] = parseMountinfo("1 0 0:5 / /mnt/with\\040space\\134and\\011tab rw - tmpfs none rw\n");
    expect(mount?.mountPoint).toBe("/mnt/with space\\and\ttab");
  });

  it("agrees with statfs on this machine", () => {
    const mounts = readMounts();
    expect(mounts.length).toBeGreaterThan(0);
    for (const { mountPoint } of mountsOfType(mounts, "cgroup2")) expect(statfsSync(mountPoint).type).toBe(0x63677270);
  });
});

describe("the cgroup2 mount", () => {
  it("is /sys/fs/cgroup on a pure v2 system", () => {
    expect(findCgroup2(parseMountinfo(pure))?.mountPoint).toBe("/sys/fs/cgroup");
  });

  it("is beside the v1 hierarchies on a hybrid system", () => {
    expect(findCgroup2(parseMountinfo(hybrid))?.mountPoint).toBe("/sys/fs/cgroup/unified");
  });

  it("is the one that shows the whole hierarchy, of several", () => {
    expect(findCgroup2(parseMountinfo(container))?.mountPoint).toBe("/run/host-cgroup");
  });

  it("is not one that another mount hides", () => {
    const hidden = "50 31 0:38 / /cg rw - cgroup2 cgroup2 rw\n51 50 0:60 / /cg rw - tmpfs tmpfs rw\n";
    expect(findCgroup2(parseMountinfo(hidden + hybrid))?.mountPoint).toBe("/sys/fs/cgroup/unified");
  });

  it("is undefined without one", () => {
    expect(findCgroup2(parseMountinfo("1 0 0:5 / / rw - tmpfs none rw\n"))).toBeUndefined();
  });
});
