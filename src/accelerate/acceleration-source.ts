// SPDX-License-Identifier: Apache-2.0

/** Ways past TCP that a flow of the kernel's programs stands for. */
export const FLOW_PATHS = ["direct", "leg"] as const;
export type FlowPath = (typeof FLOW_PATHS)[number];

/** What a thread needs to accelerate the connections of one workload, as plain data; the fds stay the sender's. */
export interface AccelerationSource {
  /** The program `advance`. */
  readonly advanceFd: number;
  /** The program `join`. */
  readonly joinFd: number;
  /** The map `accel_flows`. */
  readonly flowsFd: number;
  /** The map `accel_withdrawn`. */
  readonly withdrawnFd: number;
  /** Of the workload's namespace, decimal. */
  readonly netnsCookie: string;
  /** Ways that may be tried, whatever else may forbid them. */
  readonly paths: readonly FlowPath[];
  /** Mount point of cgroup2, where programs of the cgroups of readers keep their connections from going direct. */
  readonly cgroupPolicies?: string | undefined;
  /** Bytes that a reader may leave unread. */
  readonly budget: number;
  /** Connections to these ports are copied. */
  readonly excludePorts: readonly number[];
}
