// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { agentMetrics } from "../../../src/agent/agent-metrics.ts";

/** The families' names and types do not depend on what the agent carries, so an idle stand-in for it will do. */
const idle = {
  workloads: new Map(),
  pool: {
    stats: () => ({ active: 0, total: 0, bytesSent: 0, bytesReceived: 0, outcomes: { closed: 0 } }),
    workers: () => [{ index: 0, running: true, restarts: 0, connections: 0 }],
  },
};

it("docs/metrics.md lists every family with its type, and no other", () => {
  const text = readFileSync(join(import.meta.dirname, "../../../docs/metrics.md"), "utf8");
  const documented = [...text.matchAll(/^\| `(shunt_\w+)` \| (\w+) \|/gm)].map(([, name, type]) => `${name} ${type}`);
  const families = agentMetrics(idle as unknown as Parameters<typeof agentMetrics>[0], true);
  expect(documented).toEqual(families.map(({ name, type }) => `${name} ${type}`));
});
