// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { groupId } from "../../../src/config/group-id.ts";
import { parseAgentConfig } from "../../../src/config/parse.ts";

it("looks a group's name up in group(5)", () => {
  const directory = mkdtempSync(join(tmpdir(), "shunt-test-group-"));
  try {
    const file = join(directory, "group");
    writeFileSync(file, "root:x:0:\njava:x:5001:a,b\nbroken\n");
    expect([groupId("java", file), groupId(7, file), groupId("broken", file), groupId("ftp", file)]).toEqual([
      5001,
      7,
      undefined,
      undefined,
    ]);
    expect(groupId("java", join(directory, "absent"))).toBeUndefined();
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it("a group that this machine does not have is named in the configuration", () => {
  const parsed = parseAgentConfig("workloads: [{name: a, netns: a, outbound: {includeGroups: [root, no-such]}}]", "f");
  expect(parsed.ok ? [] : parsed.problems.map(({ text }) => text)).toEqual([
    'f:1: workloads[0].outbound.includeGroups[1]: "no-such" is no group of this machine',
  ]);
});

it("an excluded group is none of the included", () => {
  const parsed = parseAgentConfig(
    "workloads: [{name: a, netns: a, outbound: {includeGroups: [root], excludeGroups: [7]}}]",
    "f",
  );
  expect(parsed.ok && parsed.value.workloads[0]?.outbound).toMatchObject({ includeGroups: [0], excludeGroups: [7] });
});
