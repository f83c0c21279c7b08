// SPDX-License-Identifier: Apache-2.0
/** Who talks to whom, summed over connections: the table of `shunt flows`. */
import type { Flow } from "../config/formats/flow.ts";
import { formatTable } from "./table.ts";

interface Row {
  readonly cells: readonly string[];
  /** Of the bytes of the latest connection whose way is known: sent, received. */
  way: string;
  active: number;
  total: number;
  bytesSent: number;
  bytesReceived: number;
}

/** A watcher left open for days must not grow for ever. */
const MAX_ROWS = 2000;

const HEADERS = ["WORKLOAD", "DIRECTION", "FROM", "TO", "UPSTREAM", "BY", "WAY", "ACTIVE", "TOTAL", "SENT", "RECEIVED"];

export class FlowTable {
  readonly #rows = new Map<string, Row>();
  readonly #open = new Map<string, Row>();

  /** Bytes count when a connection ends. A flow that was never seen open counts as one, too. */
  add(flow: Flow): void {
    const row = this.#open.get(flow.id) ?? this.#begin(flow);
    row.way = wayOf(flow) || row.way;
    if (flow.state === "open") return;
    this.#open.delete(flow.id);
    row.active--;
    row.bytesSent += flow.bytesSent;
    row.bytesReceived += flow.bytesReceived;
  }

  /** Latest rows first, `limit` at most. */
  render(limit: number): string {
    const rows = [...this.#rows.values()].reverse();
    const hidden = rows.length - limit;
    const shown = rows
      .slice(0, Math.max(0, limit))
      .map((row) => [...row.cells, row.way, ...[row.active, row.total, row.bytesSent, row.bytesReceived].map(String)]);
    return formatTable(HEADERS, shown) + (hidden > 0 ? `… and ${hidden} more\n` : "");
  }

  #begin(flow: Flow): Row {
    const cells = [
      flow.workload,
      flow.direction,
      withoutPort(flow.source),
      flow.originalDestination ?? "?",
      flow.upstream === null || flow.upstream === flow.originalDestination ? "" : flow.upstream,
      flow.interception,
    ];
    // An inbound source port, and an outbound one, is another for each connection; all the rest is who and whom.
    const key = cells.slice(0, 4).concat(flow.interception).join(" ");
    const row = this.#rows.get(key) ?? { cells, way: "", active: 0, total: 0, bytesSent: 0, bytesReceived: 0 };
    row.active++;
    row.total++;
    this.#open.set(flow.id, row);
    // Set anew, so that the map's order is that of the last connection.
    this.#rows.delete(key);
    this.#rows.set(key, row);
    if (this.#rows.size > MAX_ROWS) this.#forgetOldest();
    return row;
  }

  #forgetOldest(): void {
    for (const [key, row] of this.#rows) {
      if (row.active > 0) continue;
      this.#rows.delete(key);
      return;
    }
  }
}

function withoutPort(endpoint: string): string {
  return endpoint.replace(/:\d+$/, "");
}

/** One word where both directions go the same way. */
export function wayOf({ acceleration }: Flow): string {
  if (acceleration === undefined) return "";
  const { sent, received } = acceleration;
  return sent === received ? sent : `${sent}, ${received}`;
}
