// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import {
  busyTicks,
  foreignTicks,
  type ProcessTimes,
  parseProcessStat,
  partySeconds,
} from "../../../src/bench/machine-cpu.ts";

describe("/proc/stat", () => {
  it("is busy with everything but idle, I/O wait and what the hypervisor took", () => {
    // user nice system idle iowait irq softirq steal guest guest_nice
    expect(busyTicks("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")).toBe(163);
  });
});

describe("/proc/PID/stat", () => {
  it("is read behind a name that holds brackets and spaces", () => {
    const line = "4711 (a) b (c) S 17 4711 4711 0 -1 4194560 9 9 0 0 120 30 7 5 20 0 1 0 1 1 1";
    expect(parseProcessStat(line)).toEqual({ pid: 4711, parent: 17, kernelThread: false, own: 150, children: 12 });
  });

  it("tells threads of the kernel", () => {
    expect(parseProcessStat("9 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 44 0 0 20 0 1 0 1 1 1").kernelThread).toBe(
      true,
    );
  });
});

describe("who takes part", () => {
  const process = (pid: number, parent: number, own: number, children = 0, kernelThread = false): ProcessTimes => ({
    pid,
    parent,
    own,
    children,
    kernelThread,
  });

  it("is whoever descends from the bench, and the kernel; the bench itself only watches", () => {
    const all = [
      process(1, 0, 5, 2),
      process(10, 1, 100, 999),
      process(11, 10, 50),
      process(12, 11, 60),
      process(20, 1, 7),
      process(3, 2, 80, 0, true),
    ];
    expect(foreignTicks(all, 10)).toBe(5 + 2 + 100 + 7);
  });

  it("does not change when a neighbour's child ends: the parent has its time", () => {
    const before = [process(20, 1, 7, 0), process(21, 20, 40, 2)];
    const after = [process(20, 1, 7, 45)];
    expect(foreignTicks(after, 10) - foreignTicks(before, 10)).toBe(3);
  });

  it("leaves seconds that are never negative", () => {
    expect(partySeconds({ busy: 100, foreign: 40 }, { busy: 350, foreign: 90 })).toBe(2);
    expect(partySeconds({ busy: 100, foreign: 40 }, { busy: 150, foreign: 140 })).toBe(0);
  });
});
