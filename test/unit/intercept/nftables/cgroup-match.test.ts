// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { matchCgroup } from "../../../../src/intercept/nftables/cgroup-match.ts";

const unified = { mountPoint: "/sys/fs/cgroup/unified", root: "/" };

describe("what matches a cgroup", () => {
  it("is its path below the mount, and its depth", () => {
    expect(matchCgroup("/sys/fs/cgroup/unified/a b/c", unified)).toEqual({
      level: 2,
      phrase: 'socket cgroupv2 level 2 "a b/c"',
    });
  });

  it("counts what lies above a mount that shows a part of the tree", () => {
    const part = { mountPoint: "/mnt", root: "/kubepods/pod1" };
    expect(matchCgroup("/mnt/c", part).phrase).toBe('socket cgroupv2 level 3 "c"');
    expect(matchCgroup("/mnt", part).phrase).toBe('socket cgroupv2 level 2 "."');
  });

  it("is nothing for the root, in which every socket is", () => {
    expect(matchCgroup("/sys/fs/cgroup/unified", unified)).toEqual({ level: 0, phrase: undefined });
  });

  it.each([
    ["/elsewhere/a", "is not below the cgroup2 mount"],
    ['/sys/fs/cgroup/unified/a"b', "nft takes no such name"],
    ["/sys/fs/cgroup/unified/a*", "nft takes no such name"],
    [`/sys/fs/cgroup/unified${"/a".repeat(256)}`, "deeper than the 255 levels"],
  ])("is refused for %s", (directory, message) => {
    expect(() => matchCgroup(directory, unified)).toThrow(message);
  });

  it("is refused where no cgroup2 is mounted", () => {
    expect(() => matchCgroup("/sys/fs/cgroup/a", undefined)).toThrow("no cgroup2 file system is mounted");
  });
});
