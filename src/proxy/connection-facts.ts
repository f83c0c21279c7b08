// SPDX-License-Identifier: Apache-2.0
// Hot: one object per connection.
import { type Endpoint, formatEndpoint } from "../net/endpoint.ts";
import type { AccelerationRecord } from "./acceleration.ts";
import type { ConnectionRecord, Outcome } from "./connection-record.ts";
import type { OpenConnection } from "./open-connection.ts";
import type { OriginalDestination } from "./original-destination.ts";
import type { ProxyListener } from "./proxy-listener.ts";

/** What a connection comes to, for its record. */
export interface ConnectionEnd {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  readonly outcome: Outcome;
  readonly detail: string;
  readonly acceleration: AccelerationRecord | undefined;
}

/** What is known of a connection from its beginning on, and how it is told. Texts are made once, and told twice. */
export class ConnectionFacts {
  readonly id: string;
  readonly listener: ProxyListener;
  readonly acceptedAt: number;
  /** Unknown of a connection that was reset before it was accepted. */
  remote: Endpoint | undefined;
  original: OriginalDestination | undefined;
  #time: string | undefined;
  #source: string | undefined;
  #destination: string | undefined;

  constructor(id: string, listener: ProxyListener, acceptedAt: number) {
    this.id = id;
    this.listener = listener;
    this.acceptedAt = acceptedAt;
  }

  describe(): OpenConnection {
    const destination = this.#destinationText() ?? "";
    return {
      id: this.id,
      time: this.#timeText(),
      listener: this.listener.name,
      workload: this.listener.workload,
      direction: this.listener.direction,
      source: this.#sourceText(),
      originalDestination: destination,
      upstream: destination,
      interception: this.#interception(),
    };
  }

  record(end: ConnectionEnd): ConnectionRecord {
    const { bytesSent, bytesReceived, durationMs, outcome, detail, acceleration } = end;
    const destination = this.#destinationText();
    return {
      time: this.#timeText(),
      id: this.id,
      direction: this.listener.direction,
      source: this.#sourceText(),
      originalDestination: destination,
      upstream: outcome === "refused" ? null : destination,
      bytesSent,
      bytesReceived,
      durationMs,
      outcome,
      detail,
      interception: this.#interception(),
      workload: this.listener.workload,
      ...(acceleration && { acceleration }),
    };
  }

  #timeText(): string {
    this.#time ??= new Date(this.acceptedAt).toISOString();
    return this.#time;
  }

  #sourceText(): string {
    this.#source ??= this.remote ? formatEndpoint(this.remote) : "unknown";
    return this.#source;
  }

  #destinationText(): string | null {
    if (this.original) this.#destination ??= formatEndpoint(this.original);
    return this.#destination ?? null;
  }

  #interception(): string {
    return this.original?.interception ?? this.listener.interception;
  }
}
