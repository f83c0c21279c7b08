// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, it } from "vitest";
import { DemoRun } from "../support/demo-run.ts";

/** Everything below a heading, up to the next one: headings alone are not indented. */
function section(lines: readonly string[], heading: RegExp): readonly string[] {
  const start = lines.findIndex((line) => heading.test(line));
  if (start < 0) throw new Error(`the demo printed no line like ${heading.source}: ${lines.join("\n")}`);
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => /^\S/.test(line));
  return rest.slice(0, end < 0 ? undefined : end);
}

/** Cells of a line; columns are two spaces or more apart. */
function cells(line: string): readonly string[] {
  return line.trim().split(/\s{2,}/);
}

/** Rows of the table that begins with this line, as cells. */
function rowsBelow(lines: readonly string[], head: RegExp): readonly (readonly string[])[] {
  const start = lines.findIndex((line) => head.test(line)) + 1;
  const rows: (readonly string[])[] = [];
  for (const line of lines.slice(start)) {
    if (cells(line).length < 3) break;
    rows.push(cells(line));
  }
  return rows;
}

describe("npm run demo", () => {
  let lines: readonly string[] = [];
  let status: number | null = null;
  let remains: readonly string[] = [];

  beforeAll(async () => {
    await using demo = new DemoRun();
    status = await demo.ended();
    lines = demo.lines;
    remains = demo.left();
  });

  it("ends with status 0 and leaves nothing behind", () => {
    expect(status, lines.join("\n")).toBe(0);
    expect(remains).toEqual([]);
    expect(lines.some((line) => line.startsWith("Everything is gone again"))).toBe(true);
  });

  it("writes plain text where its output is no terminal", () => {
    expect(lines.filter((line) => line.includes("\x1b") || line.includes("\r"))).toEqual([]);
  });

  it.each([/^eBPF mode/, /^iptables mode/])("%s: curl and Python reach servers in the other namespace", (heading) => {
    const exchanges = rowsBelow(section(lines, heading), /CLIENT/);
    expect(exchanges).toHaveLength(8);
    for (const client of ["curl in red", "curl in blue", "python3 in red", "python3 in blue"]) {
      const own = exchanges.filter((row) => row[0] === client);
      expect(own.map((row) => row[2]?.startsWith("["))).toEqual([false, true]);
    }
    for (const [, , server, answer, peer] of exchanges) {
      expect(answer).toBe("HTTP 200");
      // The client does not notice the proxy.
      expect(peer).toBe(server);
    }
  });

  it.each([/^eBPF mode/, /^iptables mode/])("%s: the original destinations are the servers' addresses", (heading) => {
    const shown = section(lines, heading);
    const servers = new Map<string, number>();
    for (const [, , server = ""] of rowsBelow(shown, /CLIENT/)) servers.set(server, (servers.get(server) ?? 0) + 1);
    const seen = rowsBelow(shown, /ORIGINAL DESTINATION/);
    expect(servers.size).toBe(4);
    expect(new Map(seen.map(([destination = "", outbound]) => [destination, Number(outbound)]))).toEqual(servers);
    expect(new Map(seen.map(([destination = "", , inbound]) => [destination, Number(inbound)]))).toEqual(servers);
    expect(shown).toContain("  Connections intercepted: 8 outbound, 8 inbound.");
  });

  it("shows that eBPF mode has no rule, and the rules of iptables mode", () => {
    const listings = (heading: RegExp) =>
      section(lines, heading).filter((line) => /-save {2}|nft list ruleset/.test(line));
    const none = listings(/^eBPF mode/);
    expect(none).toHaveLength(6);
    expect(none.filter((line) => !line.endsWith("(prints nothing)"))).toEqual([]);
    const rules = listings(/^iptables mode/).filter((line) => line.includes("-save  "));
    expect(rules.filter((line) => !/ [1-9]\d* rules$/.test(line))).toEqual([]);
  });

  it("measures both modes and the direct way, all of whose connections were intercepted or none", () => {
    const summary = section(lines, /^Summary/).map(cells);
    const row = (title: string) => summary.find(([first]) => first === title)?.slice(1) ?? [];
    const outbound = row("connections intercepted, outbound").map((text) => Number(text.replaceAll(",", "")));
    const inbound = row("connections intercepted, inbound").map((text) => Number(text.replaceAll(",", "")));
    expect(summary[0]?.at(-1)).toBe("iptables");
    // 8 exchanges, then two loads, counted and warming up: 8 kept connections and 200 new ones each.
    expect(outbound).toEqual([0, 424, 424]);
    expect(inbound).toEqual([0, 424, 424]);
    const [direct, ebpf, iptables] = row("rules in the two namespaces").map(Number);
    expect([direct, ebpf]).toEqual([0, 0]);
    expect(iptables).toBeGreaterThan(0);
    const rates = row("requests per second").map((text) => Number(text.replaceAll(",", "")));
    expect(rates).toHaveLength(3);
    expect(Math.min(...rates)).toBeGreaterThan(0);
  });
});

describe("npm run demo, interrupted", () => {
  it.each([
    ["SIGINT", "while it makes the first namespaces", /making the namespaces for direct/, 130],
    ["SIGINT", "while an agent starts", /making the namespaces for iptables/, 130],
    ["SIGINT", "while it measures", /warming up/, 130],
    ["SIGTERM", "while a program talks through the proxy", /^eBPF mode/, 143],
  ] as const)("by %s %s, ends with everything gone", async (signal, _when, moment, status) => {
    await using demo = new DemoRun();
    await demo.says(moment);
    demo.signal(signal);
    expect(await demo.ended(), demo.lines.join("\n")).toBe(status);
    expect(demo.lines).toContain(`interrupted by ${signal}; cleaning up`);
    expect(demo.left()).toEqual([]);
  });
});
