// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { handInForce } from "../../../../src/agent/rules/hand-in-force.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), `shunt-test-${process.pid}-hand-`));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A file stands for the namespace: what counts is whether the path still leads to the same inode. */
function note(target: string, netns: string): void {
  const trace = { workload: "web", target, netns, passthroughAddress: true, mode: "nftables" };
  writeFileSync(
    join(folder, "state.json"),
    JSON.stringify({ pid: 1, claims: [target], workloads: [trace], cgroups: [] }),
  );
}

describe("what rules has left in force", () => {
  it("is kept while the name leads to the same namespace", () => {
    const netns = join(folder, "netns");
    writeFileSync(netns, "");
    note(`netns:${statSync(netns).ino}`, netns);
    expect(handInForce(folder)?.workload).toBe("web");
  });

  it("is left behind when the name leads to another one, or nowhere", () => {
    const netns = join(folder, "netns");
    writeFileSync(netns, "");
    note(`netns:${statSync(netns).ino + 1}`, netns);
    expect(handInForce(folder)).toBeUndefined();
    note("netns:7", join(folder, "gone"));
    expect(handInForce(folder)).toBeUndefined();
  });

  it("is nothing where no folder tells of it", () => {
    expect(handInForce(folder)).toBeUndefined();
  });
});
