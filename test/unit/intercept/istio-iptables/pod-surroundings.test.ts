// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import {
  hasGlobalIpv6,
  idOf,
  parseNameservers,
  wantsIpv6,
} from "../../../../src/intercept/istio-iptables/pod-surroundings.ts";

describe("IPv6", () => {
  it.each([
    [["127.0.0.1", "10.0.0.1"], false, false],
    [["127.0.0.1", "::1", "fd00::1"], false, true],
    [["10.0.0.1", "fd00::1"], false, false],
    [["10.0.0.1", "fd00::1"], true, true],
    [["169.254.1.1", "fe80::1", "febf::1", "fd00::1"], false, true],
    [["10.0.0.1", "fe80::1", "::1"], true, false],
    // What an earlier run left on lo.
    [["10.0.0.1", "::6"], true, false],
    [["fec0::1"], false, true],
  ])("of %j with dual stack %s is %s", (addresses, dualStack, expected) => {
    expect(wantsIpv6(addresses, dualStack)).toBe(expected);
  });

  it("is not guessed where there is no address", () => {
    expect(() => wantsIpv6(["127.0.0.1", "::1", "fe80::1", "169.254.0.1", "::6"], true)).toThrow("no interface");
  });

  it("that rules leave out is noticed", () => {
    expect([hasGlobalIpv6(["10.0.0.1", "fd00::1"]), hasGlobalIpv6(["10.0.0.1", "fe80::1", "::6"])]).toEqual([
      true,
      false,
    ]);
  });
});

describe("resolv.conf", () => {
  it("gives every nameserver of both families, not three", () => {
    const lines = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "fd00::a", "::127.0.0.53", "::ffff:10.0.0.5"];
    expect(parseNameservers(lines.map((address) => `nameserver ${address}\n`).join(""))).toEqual({
      v4: ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"],
      v6: ["fd00::a", "::127.0.0.53"],
      passedOver: [],
    });
  });

  it("passes over what no rule can name, and lines that are none", () => {
    const text =
      "# nameserver 1.1.1.1\n;nameserver 2.2.2.2\nsearch x\nnameserver\nnameserver fe80::1%eth0\n nameserver\t9.9.9.9 # x\nnameserver x\n";
    expect(parseNameservers(text)).toEqual({ v4: ["9.9.9.9"], v6: [], passedOver: ["fe80::1%eth0", "x"] });
  });
});

describe("the user database", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/false\nbad:x:y:1::\n";

  it.each([
    ["istio-proxy", "1337"],
    ["root", "0"],
    ["istio", undefined],
    ["bad", undefined],
    ["", undefined],
  ])("knows %j as %s", (name, id) => {
    expect(idOf(name, passwd)).toBe(id);
  });
});
