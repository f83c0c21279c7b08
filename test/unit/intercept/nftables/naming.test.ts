// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  commentOf,
  longNamePieces,
  MAX_COMMENT_BYTES,
  nameOf,
  ownerOf,
  parseComment,
  prefixOf,
  rankValue,
  workloadPrefix,
} from "../../../../src/intercept/nftables/naming.ts";

describe("names in rules", () => {
  it("come back from the comments, whatever they hold and however long they are", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 260 }), (name) => {
        // A lone surrogate has no UTF-8 form.
        fc.pre(Buffer.from(name).toString() === name);
        const pieces = longNamePieces(name);
        for (const rank of [undefined, { kind: "level", level: 255 }] as const) {
          const comment = commentOf(name, rank);
          expect(comment).toMatch(/^shunt:[\w.%/@:#-]+( level 255)?$/);
          expect(comment.length).toBeLessThanOrEqual(MAX_COMMENT_BYTES);
          expect(parseComment(comment)).toEqual({ owner: ownerOf(name), ...(rank && { rank }) });
        }
        for (const piece of pieces?.comments ?? []) expect(piece.length).toBeLessThanOrEqual(MAX_COMMENT_BYTES);
        const commentsOf = (chain: string) => (chain === pieces?.chain ? pieces.comments : []);
        expect(nameOf(ownerOf(name), commentsOf)).toBe(name);
      }),
    );
  });

  it("belong to nobody in the rules of others", () => {
    for (const comment of [undefined, "", "not shunt:web", "shunt", "shunt:web for all", "shunt:web level 1000"])
      expect(parseComment(comment)).toBeUndefined();
    expect(nameOf("%ff", () => [])).toBe("%ff");
  });

  it("of objects tell whose they are", () => {
    expect(prefixOf(`${workloadPrefix("web")}out-exclude4`)).toBe(workloadPrefix("web"));
    for (const name of ["nat-output", "w4b5e57f-out", "xw4b5e57f6-out"]) expect(prefixOf(name)).toBeUndefined();
  });
});

it("what is bound to no scope comes first, then the deepest cgroup, and the namespace last", () => {
  const ranks = [
    { kind: "first" },
    { kind: "level", level: 7 },
    { kind: "level", level: 1 },
    { kind: "netns" },
  ] as const;
  const values = ranks.map(rankValue);
  expect(values.toSorted((a, b) => a - b)).toEqual(values);
  expect(new Set(values).size).toBe(ranks.length);
});
