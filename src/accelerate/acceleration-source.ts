// SPDX-License-Identifier: Apache-2.0

/** What a thread needs to accelerate the connections of one workload, as plain data; the fds stay the sender's. */
export interface AccelerationSource {
  /** The program `advance`. */
  readonly advanceFd: number;
  /** The map `accel_flows`. */
  readonly flowsFd: number;
  /** The map `accel_withdrawn`. */
  readonly withdrawnFd: number;
  /** Of the workload's namespace, decimal. */
  readonly netnsCookie: string;
  /** Bytes that a reader may leave unread. */
  readonly budget: number;
  /** Connections to these ports are copied. */
  readonly excludePorts: readonly number[];
}
