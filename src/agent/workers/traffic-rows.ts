// SPDX-License-Identifier: Apache-2.0
// Hot: runs for every connection in two threads.
/**
 * Connections as rows of plain values: the structured clone of an array without objects costs a fraction of that of an
 * array of objects, which writes and reads every field's name for each.
 */
import type { DataPath } from "../../proxy/acceleration.ts";
import type { ConnectionRecord, Outcome } from "../../proxy/connection-record.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import type { Direction } from "../../proxy/original-destination.ts";

type Value = string | number | null;
/** Values of one kind of row after another. */
export type Rows = readonly Value[];

const OPEN_WIDTH = 9;
const RECORD_WIDTH = 16;

export function writeOpen(rows: Value[], open: OpenConnection): void {
  const { id, time, listener, workload, direction, source, originalDestination, upstream, interception } = open;
  rows.push(id, time, listener, workload, direction, source, originalDestination, upstream, interception);
}

export function writeRecord(rows: Value[], record: ConnectionRecord): void {
  const { time, id, direction, source, originalDestination, upstream, bytesSent, bytesReceived } = record;
  const { durationMs, outcome, detail, interception, workload, acceleration } = record;
  rows.push(time, id, direction, source, originalDestination, upstream, bytesSent, bytesReceived, durationMs, outcome);
  rows.push(detail, interception, workload);
  if (acceleration) rows.push(acceleration.sent, acceleration.received, acceleration.reason);
  else rows.push(null, null, null);
}

export function readOpen(rows: Rows, take: (open: OpenConnection) => void): void {
  for (let at = 0; at < rows.length; at += OPEN_WIDTH) {
    take({
      id: rows[at] as string,
      time: rows[at + 1] as string,
      listener: rows[at + 2] as string,
      workload: rows[at + 3] as string,
      direction: rows[at + 4] as Direction,
      source: rows[at + 5] as string,
      originalDestination: rows[at + 6] as string,
      upstream: rows[at + 7] as string,
      interception: rows[at + 8] as string,
    });
  }
}

export function readRecords(rows: Rows, take: (record: ConnectionRecord) => void): void {
  for (let at = 0; at < rows.length; at += RECORD_WIDTH) {
    const sent = rows[at + 13] as DataPath | null;
    take({
      time: rows[at] as string,
      id: rows[at + 1] as string,
      direction: rows[at + 2] as Direction,
      source: rows[at + 3] as string,
      originalDestination: rows[at + 4] as string | null,
      upstream: rows[at + 5] as string | null,
      bytesSent: rows[at + 6] as number,
      bytesReceived: rows[at + 7] as number,
      durationMs: rows[at + 8] as number,
      outcome: rows[at + 9] as Outcome,
      detail: rows[at + 10] as string,
      interception: rows[at + 11] as string,
      workload: rows[at + 12] as string,
      ...(sent !== null && {
        acceleration: { sent, received: rows[at + 14] as DataPath, reason: rows[at + 15] as string },
      }),
    });
  }
}
