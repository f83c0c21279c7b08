// SPDX-License-Identifier: Apache-2.0
import { BlockList, isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canonicalIp,
  cidrContains,
  formatIp,
  IpError,
  ipFamily,
  isMapped,
  parseCidr,
  parseIp,
  prefixBits,
} from "../../../src/util/ip.ts";

const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("text and bytes of an address", () => {
  it("keeps any 16 bytes through text and back, and the text is an address", () => {
    fc.assert(
      fc.property(bytes16, (bytes) => {
        const text = formatIp(bytes);
        expect(isIP(text)).not.toBe(0);
        expect(parseIp(text)).toEqual(bytes);
      }),
    );
  });

  it("gives every spelling of an address the same bytes", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const canonical = canonicalIp(text);
        expect(parseIp(canonical)).toEqual(parseIp(text));
        expect(canonicalIp(canonical)).toBe(canonical);
      }),
    );
  });

  it("agrees with the URL parser of the platform on RFC 5952", () => {
    fc.assert(
      fc.property(
        bytes16.filter((bytes) => !isMapped(bytes)),
        (bytes) => {
          expect(`[${formatIp(bytes)}]`).toBe(new URL(`http://[${formatIp(bytes)}]/`).hostname);
        },
      ),
    );
  });

  it("keeps IPv4 as it is and in the v4-mapped form", () => {
    fc.assert(
      fc.property(fc.ipV4(), (text) => {
        expect(canonicalIp(text)).toBe(text);
        expect(canonicalIp(`::ffff:${text}`)).toBe(text);
        expect([...parseIp(text).subarray(0, 12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
      }),
    );
  });

  it.each([
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["::ffff:c0a8:101", "192.168.1.1"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("writes %s as %s", (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
  });

  it.each(["", "localhost", "10.0.0", "010.0.0.1", "1::2::3", "fe80::1%eth0", "10.0.0.1 "])("refuses %j", (text) => {
    expect(() => parseIp(text)).toThrow(IpError);
  });

  it("counts a v4-mapped address as IPv4", () => {
    expect(ipFamily("::ffff:10.0.0.1")).toBe(4);
    expect(ipFamily("fd00::1")).toBe(6);
  });
});

describe("address ranges", () => {
  it("clears host bits", () => {
    expect(parseCidr("10.1.2.3/8")).toEqual({ address: "10.0.0.0", prefixLength: 8 });
    expect(parseCidr("fd00::dead:beef/100")).toEqual({ address: "fd00::d000:0", prefixLength: 100 });
  });

  it("takes a bare address for itself alone", () => {
    expect(parseCidr("10.0.0.1")).toEqual({ address: "10.0.0.1", prefixLength: 32 });
    expect(parseCidr("fd00::1")).toEqual({ address: "fd00::1", prefixLength: 128 });
  });

  it("writes a v4-mapped range as IPv4, unless it is wider than IPv4", () => {
    expect(parseCidr("::ffff:10.0.0.0/104")).toEqual({ address: "10.0.0.0", prefixLength: 8 });
    expect(parseCidr("::ffff:0:0/96")).toEqual({ address: "0.0.0.0", prefixLength: 0 });
    expect(parseCidr("::ffff:10.0.0.0/80")).toEqual({ address: "::", prefixLength: 80 });
  });

  it.each(["10.0.0.0/33", "fd00::/129", "10.0.0.0/", "/8", "10.0.0.0/-1", "10.0.0.0/8/8", "fe80::1%lo/64"])(
    "refuses %j",
    (text) => {
      expect(() => parseCidr(text)).toThrow(IpError);
    },
  );

  it("contains what the platform's block list contains", () => {
    const any = fc.oneof(fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(any, fc.nat({ max: 128 }), any, fc.boolean(), (base, length, other, near) => {
        const family = isIP(base) === 4 ? "ipv4" : "ipv6";
        const prefixLength = family === "ipv4" ? length % 33 : length;
        const address = near ? base : other;
        if (isIP(address) !== isIP(base)) return;
        const list = new BlockList();
        list.addSubnet(base, prefixLength, family);
        expect(cidrContains(parseCidr(`${base}/${prefixLength}`), address)).toBe(list.check(address, family));
      }),
    );
  });

  it("counts the prefix over the 16 bytes", () => {
    expect(prefixBits({ address: "10.0.0.0", prefixLength: 8 })).toBe(104);
    expect(prefixBits({ address: "fd00::", prefixLength: 8 })).toBe(8);
  });
});
