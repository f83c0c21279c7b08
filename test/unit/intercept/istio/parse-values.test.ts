// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { IstioConfigError } from "../../../../src/intercept/istio/istio-config-error.ts";
import {
  parseExcludedOwnerGroups,
  parseIds,
  parseInterceptionMode,
  parseInterfaces,
  parseList,
  parseLoopbackCidr,
  parseMark,
  parseOwnerGroups,
  parsePort,
  parsePorts,
  parsePortsOrWildcard,
  parseRanges,
  parseRangesOrWildcard,
  parseRouteTable,
} from "../../../../src/intercept/istio/parse-values.ts";

const manyGroups = (count: number): string => Array.from({ length: count }, (_, i) => String(1000 + i)).join(",");

describe("parsing", () => {
  it("drops empty elements of a list and keeps order and repetition", () => {
    expect(parseList(",6000,,7000,6000,")).toEqual(["6000", "7000", "6000"]);
    expect(parseList("")).toEqual([]);
    expect(parsePorts("6000,7000,", "-d")).toEqual([6000, 7000]);
  });

  it("takes a wildcard only alone", () => {
    expect(parsePortsOrWildcard("*", "-b")).toBe("*");
    expect(parseRangesOrWildcard("*", "-i")).toBe("*");
    expect(parseOwnerGroups("*", "GROUPS")).toBe("*");
    expect(parsePortsOrWildcard("", "-b")).toEqual([]);
    expect(parseOwnerGroups("", "GROUPS")).toEqual([]);
  });

  it("keeps the host bits of a range and writes IPv6 in its canonical form", () => {
    expect(parseRanges("10.1.2.3/8,2001:DB8:0:0::/32,::ffff:10.0.0.0/104,0.0.0.0/0,::1/128", "-x")).toEqual([
      "10.1.2.3/8",
      "2001:db8::/32",
      "::ffff:10.0.0.0/104",
      "0.0.0.0/0",
      "::1/128",
    ]);
  });

  it("keeps names of groups and takes up to 64 of them", () => {
    expect(parseOwnerGroups("java,202", "GROUPS")).toEqual(["java", "202"]);
    expect(parseOwnerGroups(manyGroups(64), "GROUPS")).toHaveLength(64);
    expect(parseExcludedOwnerGroups(manyGroups(65), "GROUPS")).toHaveLength(65);
  });

  it("takes ids from 0 to the last that is one", () => {
    expect(parseIds("0,1337,4294967294", "-u")).toEqual(["0", "1337", "4294967294"]);
  });

  it("keeps the loopback range as given", () => {
    expect(parseLoopbackCidr("127.0.0.1/8", "LOOPBACK")).toBe("127.0.0.1/8");
    expect(parseLoopbackCidr("127.9.8.7/32", "LOOPBACK")).toBe("127.9.8.7/32");
  });

  it("takes numbers in decimal and hexadecimal", () => {
    expect(parsePort("15001", "-p")).toBe(15001);
    expect(parseMark("0x539", "-t")).toBe(1337);
    expect(parseRouteTable("4294967295", "-r")).toBe(0xffff_ffff);
  });

  it("takes no interception mode for REDIRECT", () => {
    expect(parseInterceptionMode("", "-m")).toBe("REDIRECT");
    expect(parseInterceptionMode("TPROXY", "-m")).toBe("TPROXY");
  });

  it("takes interface names that iptables and nft can carry", () => {
    expect(parseInterfaces("eth0,veth-a.1,cali_0,eth+", "-c")).toEqual(["eth0", "veth-a.1", "cali_0", "eth+"]);
  });

  const refused: readonly (readonly [string, (text: string, field: string) => unknown, string, string])[] = [
    ["a bare IPv4 address", parseRangesOrWildcard, "10.0.0.0/8,10.1.2.3", "10.1.2.3"],
    ["a bare IPv6 address", parseRanges, "fd00::1", "fd00::1"],
    ["a wildcard in a list of ranges", parseRangesOrWildcard, "10.0.0.0/8,*", "*"],
    ["a wildcard as excluded range", parseRanges, "*", "*"],
    ["a prefix too long for IPv4", parseRanges, "10.0.0.0/33", "10.0.0.0/33"],
    ["a prefix too long for IPv6", parseRanges, "fd00::/129", "fd00::/129"],
    ["a prefix with a leading zero", parseRanges, "10.0.0.0/08", "10.0.0.0/08"],
    ["a netmask", parseRanges, "10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"],
    ["an address with a zone", parseRanges, "fe80::1%eth0/64", "fe80::1%eth0/64"],
    ["an incomplete address", parseRanges, "10.0/16", "10.0/16"],
    ["a wildcard in a list of ports", parsePortsOrWildcard, "80,*", "*"],
    ["a wildcard as excluded port", parsePorts, "*", "*"],
    ["port 0", parsePort, "0", "0"],
    ["port 65536", parsePort, "65536", "65536"],
    ["no port", parsePort, "", ""],
    ["a port with a sign", parsePorts, "80,-1", "-1"],
    ["a service name as port", parsePorts, "http", "http"],
    ["65 included groups", parseOwnerGroups, manyGroups(65), "65 groups"],
    ["a wildcard among included groups", parseOwnerGroups, "java,*", "*"],
    ["a wildcard as excluded group", parseExcludedOwnerGroups, "*", "*"],
    ["an id with a space", parseIds, "13 37", "13 37"],
    ["a name where an id is wanted", parseIds, "istio-proxy", "istio-proxy"],
    ["the id that is none", parseIds, "4294967295", "4294967295"],
    ["a negative id", parseIds, "-1", "-1"],
    ["an interface name of 16 characters", parseInterfaces, "abcdefghijklmnop", "abcdefghijklmnop"],
    ["an interface name with a slash", parseInterfaces, "eth0,a/b", "a/b"],
    ["an interface name like an option", parseInterfaces, "-j", "-j"],
    ["an interface name with a quote", parseInterfaces, 'a"b', 'a\\"b'],
    ["an interface name with a space", parseInterfaces, "a b", "a b"],
    ["a loopback range wider than /8", parseLoopbackCidr, "127.0.0.0/7", "127.0.0.0/7"],
    ["a loopback range longer than /32", parseLoopbackCidr, "127.0.0.1/33", "127.0.0.1/33"],
    ["a loopback range elsewhere", parseLoopbackCidr, "10.0.0.1/32", "10.0.0.1/32"],
    ["an IPv6 loopback range", parseLoopbackCidr, "::1/128", "::1/128"],
    ["a bare loopback address", parseLoopbackCidr, "127.0.0.1", "127.0.0.1"],
    ["no loopback range", parseLoopbackCidr, "", ""],
    ["mark 0", parseMark, "0", "0"],
    ["a mark of 33 bits", parseMark, "0x100000000", "0x100000000"],
    ["a routing table by name", parseRouteTable, "main", "main"],
    ["an unknown interception mode", parseInterceptionMode, "tproxy", "tproxy"],
  ];

  it.each(refused)("refuses %s, naming field and value", (_, parse, text, shown) => {
    let refusal: unknown;
    try {
      parse(text, "--some-flag");
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(IstioConfigError);
    expect(String(refusal)).toContain("--some-flag");
    expect(String(refusal)).toContain(shown);
  });
});
