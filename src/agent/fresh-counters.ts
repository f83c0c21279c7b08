// SPDX-License-Identifier: Apache-2.0
import type { Agent } from "./agent.ts";

/** Has every workload's counters be as of now; those that can't be read stay as they were. */
export async function refreshCounters({ workloads, options: { log } }: Agent): Promise<void> {
  await Promise.all(
    [...workloads.values()].map(async ({ config, selected }) => {
      try {
        await selected.interception.refreshCounters?.();
      } catch (err) {
        log.warn({ workload: config.name, err }, "counters not read");
      }
    }),
  );
}
