// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { RestartBackoff } from "../../../../src/agent/workers/restart-backoff.ts";

it("RestartBackoff replaces a thread at once, waits longer the more often it dies young, and forgets after a long life", () => {
  const backoff = new RestartBackoff();
  expect([1, 1, 1, 1].map((livedMs) => backoff.next(livedMs))).toEqual([0, 100, 200, 400]);
  for (let i = 0; i < 20; i++) backoff.next(1);
  expect(backoff.next(1)).toBe(10_000);
  expect(backoff.next(60_000)).toBe(0);
});
