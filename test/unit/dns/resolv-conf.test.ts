// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { parseResolvConf, readNameservers, resolvConfPaths } from "../../../src/dns/resolv-conf.ts";

describe("parseResolvConf", () => {
  it("reads addresses of both families with scopes, and passes over comments and other lines", () => {
    const text = [
      "# nameserver 192.0.2.1",
      "; nameserver 192.0.2.2",
      "search example.com",
      "nameserver 10.96.0.10 # trailing",
      "nameserver\tfd00::53",
      "nameserver fe80::1%eth0\r",
      "options ndots:5",
    ].join("\n");
    expect(parseResolvConf(text)).toEqual([
      { address: "10.96.0.10" },
      { address: "fd00::53" },
      { address: "fe80::1", scope: "eth0" },
    ]);
  });

  it("passes over what is no address", () => {
    expect(
      parseResolvConf("nameserver dns.example\nnameserver 10.0.0.1%eth0\nnameserver\n nameserver 10.0.0.2\n"),
    ).toEqual([]);
  });

  it("takes the first three, as glibc does", () => {
    const text = [1, 2, 3, 4].map((n) => `nameserver 10.0.0.${n}`).join("\n");
    expect(parseResolvConf(text).map((s) => s.address)).toEqual(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  });
});

describe("readNameservers", () => {
  it("looks at the process first, then the named namespace, then the host", () => {
    expect(resolvConfPaths({ pid: 7, netnsName: "blue" })).toEqual([
      "/proc/7/root/etc/resolv.conf",
      "/etc/netns/blue/resolv.conf",
      "/etc/resolv.conf",
    ]);
    expect(resolvConfPaths({})).toEqual(["/etc/resolv.conf"]);
  });

  it("goes on to the next file only when one can't be read", () => {
    const files: Record<string, string> = {
      "/etc/netns/blue/resolv.conf": "nameserver 10.0.0.9",
      "/etc/resolv.conf": "nameserver 10.0.0.1",
    };
    const read = (path: string): string => {
      const text = files[path];
      if (text === undefined) throw new Error(`no ${path}`);
      return text;
    };
    expect(readNameservers({ pid: 7, netnsName: "blue" }, read)).toEqual([{ address: "10.0.0.9" }]);
    files["/etc/netns/blue/resolv.conf"] = "# none";
    expect(readNameservers({ netnsName: "blue" }, read)).toEqual([{ address: "127.0.0.1" }]);
  });
});
