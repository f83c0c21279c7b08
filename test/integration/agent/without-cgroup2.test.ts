// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { findCgroup2 } from "../../../src/util/mountinfo.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

/** A mount namespace of its own without cgroup2: what a system with cgroup v1 only has. */
const UNMOUNTED = `set -e
for m in $(awk '$9 == "cgroup2" || $8 == "cgroup2" { print $5 }' /proc/self/mountinfo); do umount "$m"; done
"$@"
grep -c cgroup2 /proc/self/mountinfo || true`;

it("where no cgroup2 is mounted, exec mounts it and unmounts it again", async () => {
  expect(findCgroup2()).toBeDefined();
  const folder = mkdtempSync(join(tmpdir(), "shunt-test-cgroup2-"));
  try {
    const record = join(folder, "record.jsonl");
    const argv = shuntArgv(["exec", "--mode", "ebpf", "--record", record, "--", "curl", "-s", "http://127.0.0.1:9/"]);
    const ended = await runCommand([
      "unshare",
      "-m",
      "--propagation",
      "private",
      "sh",
      "-c",
      UNMOUNTED,
      "sh",
      "sh",
      "-c",
      '"$@" || true',
      "sh",
      ...argv,
    ]);
    expect(ended).toMatchObject({ status: 0, stdout: "0\n", stderr: "" });
    const records = readFileSync(record, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as ConnectionRecord);
    expect(records).toMatchObject([
      { originalDestination: "127.0.0.1:9", outcome: "connect-failed", interception: "ebpf" },
    ]);
    expect(findCgroup2()?.source).not.toBe("shunt");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
