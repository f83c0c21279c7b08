// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { configurationFiles, isHaproxy, isWithoutSplice } from "../../../../src/accelerate/reader/haproxy.ts";

describe("the command line of HAProxy", () => {
  it.each<[string, string[], string[] | undefined]>([
    ["files and folders", ["-W", "-f", "/etc/a.cfg", "-f", "more"], ["/etc/a.cfg", "more"]],
    ["files after two dashes", ["-f", "a", "--", "b", "c"], ["a", "b", "c"]],
    ["no file", ["-W"], []],
    ["a file that is missing", ["-f"], undefined],
    ["another folder to begin in", ["-C", "/etc", "-f", "a"], undefined],
  ])("names %s", (_, args, expected) => {
    expect(configurationFiles(args)).toEqual(expected);
  });

  it("is that of an executable of this name, also one that was replaced since", () => {
    expect(["/usr/sbin/haproxy", "/usr/sbin/haproxy (deleted)"].map(isHaproxy)).toEqual([true, true]);
    expect(["/usr/sbin/nginx", "/opt/haproxy/wrapper"].map(isHaproxy)).toEqual([false, false]);
  });
});

describe("a configuration of HAProxy", () => {
  it.each([
    ["nothing about it", "defaults\n  mode tcp\n  option tcplog\n"],
    ["it in a comment", "defaults\n  # option splice-auto\n  mode tcp"],
    ["it, and nosplice", "global\n  nosplice\ndefaults\n  option splice-auto\n"],
    ["options with their arguments", "  option httpchk GET /healthz\n  option forwardfor header X-Client-IP"],
  ])("with %s is without splice", (_, text) => {
    expect(isWithoutSplice([text])).toBe(true);
  });

  it.each([
    ["option splice-auto", "defaults\n\toption splice-auto\n"],
    ["option splice-request", "  option splice-request"],
    ["option splice-response after a line that goes on", "  option \\\n splice-response"],
    ["an option that only a variable tells", '  option "${RELAY}"'],
    ["an option in pieces", "  option spl'ice-auto'"],
  ])("with %s is not", (_, text) => {
    expect(isWithoutSplice(["defaults\n", text])).toBe(false);
  });
});
