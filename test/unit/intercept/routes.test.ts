// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { interfaceTo, parseRoutes4, parseRoutes6 } from "../../../src/intercept/routes.ts";

const HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

describe("the kernel's table of routes", () => {
  it("gives ranges with their interfaces; the least metric wins, and refused ranges lead nowhere", () => {
    const lines = [
      "eth0\t00000000\t0158580A\t0003\t0\t0\t100\t00000000\t0\t0\t0",
      "net1\t00000000\t01004D0A\t0003\t0\t0\t50\t00000000\t0\t0\t0",
      "net1\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0",
      "*\t0000640A\t00000000\t0201\t0\t0\t0\t0000FFFF\t0\t0\t0",
    ];
    expect(parseRoutes4([HEADING, ...lines, ""].join("\n"))).toEqual([
      { destination: { address: "0.0.0.0", prefixLength: 0 }, interface: "net1" },
      { destination: { address: "10.77.0.0", prefixLength: 24 }, interface: "net1" },
    ]);
  });

  it("names the interface of the longest range that has an address", () => {
    const range = (address: string, prefixLength: number, name: string) => ({
      destination: { address, prefixLength },
      interface: name,
    });
    const routes = [
      range("0.0.0.0", 0, "eth0"),
      range("::", 0, "six0"),
      range("10.77.0.0", 24, "net1"),
      range("fd00::", 16, "net6"),
    ];
    const found = ["10.77.0.9", "10.78.0.9", "fd00::9", "2001:db8::9"].map((address) => interfaceTo(address, routes));
    expect(interfaceTo("10.78.0.9", [])).toBeUndefined();
    expect(found).toEqual(["net1", "eth0", "net6", "six0"]);
  });

  it("gives those of IPv6 without own, multicast and source-dependent ones", () => {
    const zero = "0".repeat(32);
    const row = (destination: string, length: string, flags: string, name: string, sourceLength = "00"): string =>
      `${destination} ${length} ${zero} ${sourceLength} ${zero} 00000100 00000001 00000000 ${flags} ${name}`;
    const text = [
      row("fd000077000000000000000000000000", "40", "00000001", "net1"),
      row("fd000077000000000000000000000001", "80", "80200001", "net1"),
      row("ff000000000000000000000000000000", "08", "00000001", "net1"),
      row(zero, "00", "00200200", "lo"),
      row("fd000088000000000000000000000000", "40", "00000001", "net1", "40"),
    ];
    expect(parseRoutes6(`${text.join("\n")}\n`)).toEqual([
      { destination: { address: "fd00:77::", prefixLength: 64 }, interface: "net1" },
    ]);
  });
});
