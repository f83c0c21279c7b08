// SPDX-License-Identifier: Apache-2.0
import type { BackendName, Direction } from "./backend.ts";
import { partsOf, type WholeInterception } from "./composite.ts";

/** What takes the connections of each direction. */
export function mechanismsOf(interception: WholeInterception): Readonly<Record<Direction, BackendName>> {
  const [outbound = interception, inbound = outbound] = partsOf(interception);
  // TPROXY sees only packets that arrive.
  return { outbound: outbound.backend === "tproxy" ? "iptables" : outbound.backend, inbound: inbound.backend };
}
