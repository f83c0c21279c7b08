// SPDX-License-Identifier: Apache-2.0
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { patienceMs } from "../../support/inbox.ts";
import { peerFolder } from "../../support/peer-folder.ts";

const adapter = join(import.meta.dirname, "../../support/programs/istio-rules.mjs");
/** The comparer starts a process for each case, one after the other. */
const DEADLINE_MS = 300_000;
const peer = peerFolder("istio-capture");

interface Cases {
  readonly cases: readonly { readonly id: string }[];
  readonly negative?: readonly { readonly id: string; readonly rejectedBy?: string }[];
}

/** What the comparer prints, and its exit status. */
function compare(folder: string, flags: readonly string[]): Promise<{ status: number; output: string }> {
  const args = [join(folder, "run-generator.mjs"), ...flags, "--", process.execPath, adapter];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { maxBuffer: 1 << 26 }, (_error, stdout, stderr) => {
      resolve({ status: child.exitCode ?? -1, output: stdout + stderr });
    });
  });
}

/** Adds up "SUITE SPLIT ORIGIN: N ok, M failed". */
function passed(output: string): number {
  return [...output.matchAll(/: (\d+) ok, \d+ failed$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
}

describe("the rules of Istio's own tests", () => {
  const deadline = { timeout: patienceMs(DEADLINE_MS) };

  it("come out of the built generators, rule for rule and line for line", deadline, async (context) => {
    if ("reason" in peer) return context.skip(peer.reason);
    const { cases, negative = [] } = JSON.parse(readFileSync(join(peer.path, "cases.json"), "utf8")) as Cases;
    const refused = negative.filter((negated) => negated.rejectedBy === "generator");
    process.stdout.write(`${peer.path}: ${cases.length} cases to make, ${refused.length} to refuse\n`);
    expect(cases.length).toBeGreaterThan(0);
    for (const flags of [[], ["--text"]]) {
      const { status, output } = await compare(peer.path, flags);
      expect(status, output).toBe(0);
      expect(passed(output), output).toBe(cases.length + refused.length);
    }
  });
});
