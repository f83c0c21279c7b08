// SPDX-License-Identifier: Apache-2.0
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { matchRanges } from "../../../../src/intercept/nftables/address-set.ts";
import { cidrContains, parseCidr } from "../../../../src/util/ip.ts";

const range = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 255 }), fc.integer({ min: 6, max: 32 }))
  .map(([a, b, length]) => parseCidr(`10.${a % 4}.${b % 4}.${b}/${length}`));

describe("ranges as a set", () => {
  it("hold the same addresses as the list, in elements none of which lies in another", () => {
    fc.assert(
      fc.property(
        fc.array(range, { minLength: 1, maxLength: 12 }),
        fc.array(range, { maxLength: 12 }),
        (list, asked) => {
          const elements = matchRanges("w", 4, list)?.set?.elements.map(parseCidr) ?? [];
          for (const { address } of [...list, ...asked]) {
            const held = elements.filter((element) => cidrContains(element, address));
            expect(held.length).toBe(list.some((cidr) => cidrContains(cidr, address)) ? 1 : 0);
          }
        },
      ),
    );
  });

  it("are of one family, and nothing where there is none", () => {
    const cidrs = ["10.0.0.0/8", "fd00::/8"].map(parseCidr);
    expect(matchRanges("x", 4, cidrs)?.set).toMatchObject({ name: "x4", type: "ipv4_addr", elements: ["10.0.0.0/8"] });
    expect(matchRanges("x", 6, cidrs)?.phrase("saddr")).toBe("ip6 saddr @x6");
    expect(matchRanges("x", 6, [parseCidr("10.0.0.0/8")])).toBeUndefined();
  });

  it("of all addresses are no set, because an interval needs an end", () => {
    const all = matchRanges("x", 6, ["::/0", "fd00::/8"].map(parseCidr));
    expect(all?.set).toBeUndefined();
    expect(all?.phrase("daddr")).toBe("meta nfproto ipv6");
  });
});
