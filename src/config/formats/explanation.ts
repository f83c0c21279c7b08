// SPDX-License-Identifier: Apache-2.0
/** What decides about one connection: question and answer of GET /explain and `shunt explain`. */

export interface ExplainQuery {
  readonly workload: string;
  readonly direction: "outbound" | "inbound";
  /** Destination; inbound an address of the workload. Canonical text. */
  readonly address: string;
  readonly port: number;
  readonly transport: "tcp" | "udp";
  /** Who connects. Absent: some address that no rule names. */
  readonly source?: string;
  /** Whose process connects; outbound only. Absent: somebody whom no list names. */
  readonly uid?: number;
  readonly gid?: number;
  /** SO_MARK of the socket that connects; outbound only. Absent: 0. */
  readonly mark?: number;
  /**
   * The interface by which it arrives or leaves. Absent: outbound the one that the routes of the namespace name, which the
   * answer tells where interfaces are excluded; inbound one that no list names.
   */
  readonly interface?: string;
}

export interface Explanation {
  readonly query: ExplainQuery;
  readonly verdict: "pass" | "redirect" | "deny";
  /** Reason code, as in counters and events. */
  readonly reason: string;
  /** The rule that decides, as the configuration says it: `outbound.excludeCidrs: 10.0.0.0/8`. */
  readonly rule: string;
  /** What the back-end made of it: map and key, or table, chain and rule. */
  readonly decidedBy: string;
  /** Where the connection arrives: the proxy's listener, the address itself, or null when it is refused. */
  readonly goesTo: string | null;
}
