// SPDX-License-Identifier: Apache-2.0
import type { VerdictCounters } from "../backend.ts";

/** One workload's counters by reason, from the names that `render` gives them. Reasons that never were are left out. */
export function verdictsOf(prefix: string, counters: ReadonlyMap<string, number>): VerdictCounters {
  const of = (direction: "outbound" | "inbound"): Record<string, number> => {
    const begin = `${prefix}${direction}-`;
    const counted = [...counters].filter(([name, packets]) => name.startsWith(begin) && packets > 0);
    return Object.fromEntries(counted.map(([name, packets]) => [name.slice(begin.length), packets]));
  };
  return { outbound: of("outbound"), inbound: of("inbound") };
}
