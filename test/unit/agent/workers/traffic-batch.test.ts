// SPDX-License-Identifier: Apache-2.0
import { expect, it } from "vitest";
import { TrafficBatch } from "../../../../src/agent/workers/traffic-batch.ts";
import { readOpen, readRecords } from "../../../../src/agent/workers/traffic-rows.ts";
import type { FromWorker } from "../../../../src/agent/workers/worker-protocol.ts";
import type { ConnectionRecord } from "../../../../src/proxy/connection-record.ts";
import type { OpenConnection } from "../../../../src/proxy/open-connection.ts";

const begun = (id: string): OpenConnection => ({
  id,
  time: "2026-01-02T03:04:05.006Z",
  listener: "web/outbound",
  workload: "web",
  direction: "outbound",
  source: "10.0.0.1:40000",
  originalDestination: "[fd00::2]:80",
  upstream: "[fd00::2]:80",
  interception: "ebpf",
});

const recordOf = ({ listener: _listener, ...open }: OpenConnection, more: Partial<ConnectionRecord> = {}) => ({
  ...open,
  bytesSent: 2 ** 40,
  bytesReceived: 7,
  durationMs: 12,
  outcome: "closed" as const,
  detail: "",
  ...more,
});

/** Structured clone, as between threads, and back. */
function told(message: FromWorker | undefined) {
  if (message?.kind !== "traffic") throw new TypeError("no traffic was told");
  const { opened, ended, brief } = structuredClone(message);
  const result = { opened: [] as OpenConnection[], ended: [] as ConnectionRecord[], brief: [] as ConnectionRecord[] };
  readOpen(opened, (connection) => result.opened.push(connection));
  readRecords(ended, (record) => result.ended.push(record));
  readRecords(brief, (record) => result.brief.push(record));
  return result;
}

it("tells every field of what has begun, of what has ended, and of what has done both in between", () => {
  const messages: FromWorker[] = [];
  const batch = new TrafficBatch((message) => messages.push(message));
  const [first, second, third] = [begun("a-1"), begun("a-2"), begun("a-3")];
  batch.opened(first);
  batch.opened(second);
  const brief = recordOf(second, { acceleration: { sent: "copy", received: "direct", reason: "none" } });
  batch.ended(brief);
  batch.flush();
  expect(told(messages[0])).toEqual({ opened: [first], ended: [], brief: [brief] });
  const ended = recordOf(first);
  const refused = recordOf(third, { originalDestination: null, upstream: null, outcome: "refused", detail: "why" });
  batch.ended(ended);
  batch.ended(refused);
  batch.flush();
  expect(told(messages[1])).toEqual({ opened: [], ended: [ended, refused], brief: [] });
  batch.flush();
  expect(messages).toHaveLength(2);
});
