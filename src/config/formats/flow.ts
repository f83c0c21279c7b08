// SPDX-License-Identifier: Apache-2.0
/** Who talks to whom: the connections the proxy has, as GET /flows and `shunt flows` tell them. */

/** A connection now, or at its end. Text forms are those of the record; a flow has the id of its record. */
export interface Flow {
  readonly id: string;
  readonly state: "open" | "closed";
  /** RFC 3339, when it was accepted. */
  readonly time: string;
  readonly workload: string;
  readonly direction: "outbound" | "inbound" | "dns";
  readonly source: string;
  readonly originalDestination: string | null;
  readonly upstream: string | null;
  readonly interception: string;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  /** As in the record. */
  readonly acceleration?: { readonly sent: string; readonly received: string; readonly reason: string } | undefined;
  /** Once closed, the record's. */
  readonly outcome?: string;
}

/** A line of `/flows?follow=1`: a flow, or how many were left out because the reader is too slow. */
export type FlowLine = Flow | { readonly lost: number };
