// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { ListenerPlaces } from "../../../src/agent/listener-places.ts";

const group = (first: number): number[] => Array.from({ length: 12 }, (_, index) => first + index);

describe("the places of listening sockets", () => {
  it("are one in each family that a socket accepts, and no two are the same", () => {
    const places = new ListenerPlaces();
    expect(places.give(1, 7, [4])).toEqual([{ family: 4, index: 0 }]);
    expect(places.give(2, 7, [4, 6])).toEqual([
      { family: 4, index: 1 },
      { family: 6, index: 0 },
    ]);
  });

  it("are eight for a process, and eight are left for its successor", () => {
    const places = new ListenerPlaces();
    expect(
      group(100)
        .flatMap((inode) => places.give(inode, 7, [4]))
        .map(({ index }) => index),
    ).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(
      group(200)
        .flatMap((inode) => places.give(inode, 8, [4]))
        .map(({ index }) => index),
    ).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    expect(places.give(300, 9, [4])).toEqual([]);
    expect(places.knows(300)).toBe(true);
    expect(places.holds(300)).toBe(false);
  });

  it("that get free are given to sockets that had none", () => {
    const places = new ListenerPlaces();
    for (const inode of group(100)) places.give(inode, 7, [4]);
    for (const inode of group(200)) places.give(inode, 8, [4]);
    places.retain(new Set([...group(100), ...group(200)]));
    expect(places.knows(211)).toBe(true);
    places.retain(new Set(group(200)));
    expect(places.knows(200)).toBe(true);
    expect(places.knows(211)).toBe(false);
    expect(places.give(211, 9, [4])).toEqual([{ family: 4, index: 0 }]);
  });

  it("are forgotten when a socket could not be put there", () => {
    const places = new ListenerPlaces();
    places.give(1, 7, [6]);
    places.withdraw(1);
    expect(places.knows(1)).toBe(false);
    expect(places.give(2, 7, [6])).toEqual([{ family: 6, index: 0 }]);
  });
});
