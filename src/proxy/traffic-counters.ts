// SPDX-License-Identifier: Apache-2.0
import type { AccelerationRecord } from "./acceleration.ts";
import type { ConnectionRecord, Outcome } from "./connection-record.ts";

/** Plain numbers since the start; only `active` ever falls. Bytes count when a connection ends. */
export interface TrafficStats {
  readonly active: number;
  /** Every connection accepted, refused ones too. */
  readonly total: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** How the bytes of connections that have ended went, where acceleration was asked for. */
  readonly accelerated: readonly (AccelerationRecord & { readonly connections: number })[];
}

export class TrafficCounters {
  #active = 0;
  #total = 0;
  #bytesSent = 0;
  #bytesReceived = 0;
  readonly #accelerated = new Map<string, AccelerationRecord & { connections: number }>();
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
    if (record.acceleration) this.#count(record.acceleration);
  }

  read(): TrafficStats {
    return {
      active: this.#active,
      total: this.#total + this.#active,
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      outcomes: { ...this.#outcomes },
      accelerated: [...this.#accelerated.values()].map((counted) => ({ ...counted })),
    };
  }

  #count({ sent, received, reason }: AccelerationRecord): void {
    const key = `${sent} ${received} ${reason}`;
    const counted = this.#accelerated.get(key);
    if (counted) counted.connections++;
    else this.#accelerated.set(key, { sent, received, reason, connections: 1 });
  }
}
