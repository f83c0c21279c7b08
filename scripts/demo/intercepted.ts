// SPDX-License-Identifier: Apache-2.0
import type { ConnectionRecord } from "../../src/proxy/connection-record.ts";

export interface DirectionCounts {
  readonly outbound: number;
  readonly inbound: number;
}

/** How often an original destination was seen in each direction. */
export interface SeenDestination extends DirectionCounts {
  readonly destination: string;
}

/** Connections intercepted in each direction. */
export function countDirections(records: readonly ConnectionRecord[]): DirectionCounts {
  const count = (direction: ConnectionRecord["direction"]): number =>
    records.filter((record) => record.direction === direction).length;
  return { outbound: count("outbound"), inbound: count("inbound") };
}

/** The original destinations in the records, in the order they were first seen. */
export function destinationsSeen(records: readonly ConnectionRecord[]): readonly SeenDestination[] {
  const destinations = [...new Set(records.map((record) => record.originalDestination ?? "unknown"))];
  return destinations.map((destination) => {
    const same = records.filter((record) => (record.originalDestination ?? "unknown") === destination);
    return { destination, ...countDirections(same) };
  });
}

/** The two sets of addresses, where they differ: each with what is wrong about it. Empty when they are the same. */
export function differences(seen: readonly SeenDestination[], servers: readonly string[]): readonly string[] {
  const known = new Set(servers);
  const unknown = seen.filter(({ destination }) => !known.has(destination));
  const missing = (direction: keyof DirectionCounts): readonly string[] =>
    [...known].filter((server) => !seen.some((entry) => entry.destination === server && entry[direction] > 0));
  return [
    ...unknown.map(({ destination }) => `${destination} was seen, and no server of the demo is there`),
    ...missing("outbound").map((server) => `${server} was never seen outbound`),
    ...missing("inbound").map((server) => `${server} was never seen inbound`),
  ];
}
