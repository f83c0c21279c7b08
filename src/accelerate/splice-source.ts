// SPDX-License-Identifier: Apache-2.0

/** What a thread needs to splice the connections of one workload, as plain data; the fds stay the sender's. */
export interface SpliceSource {
  /** The program `hand_over`. */
  readonly handOverFd: number;
  /** The map `splice_flows`. */
  readonly flowsFd: number;
  /** The map `splice_wakers`. */
  readonly wakersFd: number;
  /** Entry of the workload in `splice_scopes`, decimal. */
  readonly scope: string;
  /** Of the workload's namespace, decimal. */
  readonly netnsCookie: string;
  /** Bytes that may be on their way from one of the proxies' sockets to the other. */
  readonly budget: number;
  /** Connections to these ports are copied. */
  readonly excludePorts: readonly number[];
}
