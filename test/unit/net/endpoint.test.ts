// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { formatEndpoint, unmapAddress } from "../../../src/net/endpoint.ts";

describe("endpoints", () => {
  it("are written ip:port with IPv6 in brackets", () => {
    expect(formatEndpoint({ address: "10.0.0.1", port: 80 })).toBe("10.0.0.1:80");
    expect(formatEndpoint({ address: "fd00::1", port: 80 })).toBe("[fd00::1]:80");
  });

  it("of a dual-stack socket lose the v4-mapped prefix and nothing else", () => {
    expect(unmapAddress("::ffff:10.0.0.1")).toBe("10.0.0.1");
    expect(unmapAddress("::ffff:0:1")).toBe("::ffff:0:1");
    expect(unmapAddress("10.0.0.1")).toBe("10.0.0.1");
    expect(unmapAddress("fd00::1")).toBe("fd00::1");
  });
});
