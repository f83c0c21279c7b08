// SPDX-License-Identifier: Apache-2.0
import type { ConnectionRecord, Outcome } from "./connection-record.ts";

/** Plain numbers since the start; only `active` ever falls. Bytes count when a connection ends. */
export interface TrafficStats {
  readonly active: number;
  /** Every connection accepted, refused ones too. */
  readonly total: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
}

export class TrafficCounters {
  #active = 0;
  #total = 0;
  #bytesSent = 0;
  #bytesReceived = 0;
  readonly #outcomes: Record<Outcome, number> = {
    closed: 0,
    "reset-by-downstream": 0,
    "reset-by-upstream": 0,
    "connect-failed": 0,
    timeout: 0,
    refused: 0,
    "worker-lost": 0,
  };

  opened(): void {
    this.#active++;
  }

  /** `wasOpen`: it had been counted by `opened`. */
  ended(record: ConnectionRecord, wasOpen: boolean): void {
    if (wasOpen) this.#active--;
    this.#total++;
    this.#bytesSent += record.bytesSent;
    this.#bytesReceived += record.bytesReceived;
    this.#outcomes[record.outcome]++;
  }

  read(): TrafficStats {
    return {
      active: this.#active,
      total: this.#total + this.#active,
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      outcomes: { ...this.#outcomes },
    };
  }
}
