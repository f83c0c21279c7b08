// SPDX-License-Identifier: Apache-2.0
/** What stands between client and server, and how one sees that connections went through it. */
import type { ShuntAgent } from "./shunt-agent.ts";

export interface Hops {
  /** How often a connection has passed a proxy so far. */
  passed(): Promise<number>;
  /** Absent where the proxy is not ours. */
  readonly agent?: ShuntAgent;
  /** The cgroup that clients have to be in; absent where it does not matter. */
  readonly clientCgroup?: string;
}

export const NO_HOPS: Hops = { passed: async () => 0 };
