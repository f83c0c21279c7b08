// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { judgeWays, promisedBy } from "../../../src/bench/acceleration.ts";

const copy = { sent: "copy", received: "copy", reason: "reader-blocks" };
const direct = { sent: "direct", received: "direct", reason: "none" };
const asymmetric = { sent: "copy", received: "leg", reason: "reader-blocks" };

it("what was promised, in one direction, is taken", () => {
  expect(judgeWays(["leg"], [asymmetric, asymmetric, copy])).toEqual({
    taken: "2 × sent copy, received leg (reader-blocks); 1 × sent copy, received copy (reader-blocks)",
  });
});

it("figures are doubted when most connections did not go the way that was promised", () => {
  expect(judgeWays(["direct"], [copy, copy, direct])).toEqual({
    taken: "2 × sent copy, received copy (reader-blocks); 1 × sent direct, received direct (none)",
    doubt:
      "most was not accelerated: 2 × sent copy, received copy (reader-blocks); 1 × sent direct, received direct (none)",
  });
  expect(judgeWays(["leg"], [direct]).doubt).toContain("most was not accelerated: 1 × sent direct");
  expect(judgeWays(["direct"], [undefined]).doubt).toBe("the agent says nothing of how bytes travelled");
});

it("with everything allowed the agent may copy for programs that block and for bulk, and not otherwise", () => {
  const spliced = (client: "polling" | "blocking", test: "latency" | "bulk"): boolean =>
    promisedBy("ebpf-spliced", { client, test })?.includes("copy") ?? true;
  expect([spliced("polling", "latency"), spliced("polling", "bulk"), spliced("blocking", "latency")]).toEqual([
    false,
    true,
    true,
  ]);
  expect(promisedBy("ebpf-accelerated", { client: "blocking", test: "latency" })).toEqual(["leg"]);
  expect(promisedBy("ebpf", { client: "polling", test: "latency" })).toBeUndefined();
});
