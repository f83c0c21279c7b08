// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commentOf, ownerOf, workloadChain } from "../../../../src/intercept/iptables/naming.ts";

describe("names in rules", () => {
  it("come back from the comment, whatever they hold", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 15 }), (name) => {
        // A lone surrogate has no UTF-8 form.
        fc.pre(Buffer.from(name).toString() === name);
        const comment = commentOf(name);
        expect(comment).toMatch(/^shunt:[\w.%/@:-]+$/);
        for (const text of [comment, `"${comment}"`])
          expect(ownerOf(`-A X -m comment --comment ${text} -j RETURN`)).toBe(name);
      }),
    );
  });

  it("belong to nobody in the rules of others", () => {
    expect(ownerOf('-A X -m comment --comment "not shunt:web" -j RETURN')).toBeUndefined();
    expect(ownerOf("-A X -m comment --comment shunt -j SHUNT_OUTPUT")).toBeUndefined();
    expect(ownerOf("-A X -m comment --comment shunt:%ff -j RETURN")).toBe("%ff");
  });

  it("are refused when a comment can't hold them", () => {
    expect(() => commentOf("x".repeat(250))).toThrow(/too long/);
  });

  it("give chains that iptables can name", () => {
    expect(workloadChain("x".repeat(240), "OUT_REDIR").length).toBeLessThanOrEqual(28);
  });
});
