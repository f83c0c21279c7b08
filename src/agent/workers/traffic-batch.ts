// SPDX-License-Identifier: Apache-2.0
// Hot: called twice for every connection.
import type { ConnectionRecord } from "../../proxy/connection-record.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { writeOpen, writeRecord } from "./traffic-rows.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** A message to another thread costs as much as a system call and wakes it: under load there is one in so long. */
const PAUSE_MS = 5;

/** Collects openings and records into few messages: the first goes out with the turn of the loop, the next after a pause. */
export class TrafficBatch {
  readonly #post: (message: FromWorker) => void;
  readonly #opened = new Map<string, OpenConnection>();
  #brief: (string | number | null)[] = [];
  #ended: (string | number | null)[] = [];
  #scheduled = false;
  #flushedAt = 0;

  constructor(post: (message: FromWorker) => void) {
    this.#post = post;
  }

  opened(connection: OpenConnection): void {
    this.#opened.set(connection.id, connection);
    this.#schedule();
  }

  ended(record: ConnectionRecord): void {
    writeRecord(this.#opened.delete(record.id) ? this.#brief : this.#ended, record);
    this.#schedule();
  }

  flush = (): void => {
    this.#scheduled = false;
    if (this.#opened.size === 0 && this.#ended.length === 0 && this.#brief.length === 0) return;
    this.#flushedAt = performance.now();
    const opened: string[] = [];
    for (const connection of this.#opened.values()) writeOpen(opened, connection);
    const message: FromWorker = { kind: "traffic", opened, ended: this.#ended, brief: this.#brief };
    this.#opened.clear();
    this.#ended = [];
    this.#brief = [];
    this.#post(message);
  };

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (performance.now() - this.#flushedAt > PAUSE_MS) setImmediate(this.flush);
    else setTimeout(this.flush, PAUSE_MS);
  }
}
