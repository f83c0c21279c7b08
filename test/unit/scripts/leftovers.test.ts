// SPDX-License-Identifier: Apache-2.0
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { leftBehind, takeTraces } from "../../../scripts/test/leftovers.ts";

describe("the search for leftovers", () => {
  it("names what came and forgives what went", () => {
    const before = { pin: ["/sys/fs/bpf/other"], interface: ["lo", "eth0"] };
    const after = { pin: ["/sys/fs/bpf/other", "/sys/fs/bpf/shunt"], interface: ["lo"] };
    expect(leftBehind(before, after)).toEqual(["pin: /sys/fs/bpf/shunt"]);
  });

  it("counts equal lines", () => {
    expect(leftBehind({ rule: ["x"] }, { rule: ["x", "x"] })).toEqual(["rule: x"]);
  });

  it("finds a process of the run by the mark it inherited", async () => {
    const mark = `SHUNT_TEST_RUN=unit-${process.pid}`;
    const before = takeTraces(mark);
    const child = spawn("sleep", ["60"], { env: { ...process.env, SHUNT_TEST_RUN: `unit-${process.pid}` } });
    try {
      await once(child, "spawn");
      expect(leftBehind(before, takeTraces(mark))).toContain(`process: ${child.pid} sleep 60`);
    } finally {
      child.kill();
      await once(child, "close");
    }
    expect(takeTraces(mark)["process"]).toEqual([]);
  });
});
