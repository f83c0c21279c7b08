// SPDX-License-Identifier: Apache-2.0
// Hot: called twice for every connection.
import type { ConnectionRecord } from "../../proxy/connection-record.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import type { FromWorker } from "./worker-protocol.ts";

/** Collects a turn of the loop's openings and records into one message: posting is the dear part. */
export class TrafficBatch {
  readonly #post: (message: FromWorker) => void;
  #opened: OpenConnection[] = [];
  #ended: ConnectionRecord[] = [];
  #scheduled = false;

  constructor(post: (message: FromWorker) => void) {
    this.#post = post;
  }

  opened(connection: OpenConnection): void {
    this.#opened.push(connection);
    this.#schedule();
  }

  ended(record: ConnectionRecord): void {
    this.#ended.push(record);
    this.#schedule();
  }

  flush = (): void => {
    this.#scheduled = false;
    if (this.#opened.length === 0 && this.#ended.length === 0) return;
    const message: FromWorker = { kind: "traffic", opened: this.#opened, ended: this.#ended };
    this.#opened = [];
    this.#ended = [];
    this.#post(message);
  };

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.flush);
  }
}
