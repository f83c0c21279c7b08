// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { BenchRun } from "../support/bench-run.ts";

describe("shunt bench", () => {
  it("measures what was asked for and direct, over loopback, and leaves nothing behind", async () => {
    await using bench = new BenchRun([
      "--quick",
      "--only",
      "/(ebpf|iptables)/2-shunt/(polling/(latency/c1/|bulk)|blocking/connect)",
    ]);
    expect(await bench.ended(), bench.output).toBe(0);
    expect(bench.left()).toEqual([]);
    const { results, rounds, failed, distributions } = bench.report();
    expect([rounds >= 3, failed]).toEqual([true, []]);
    const loads = results.map(({ client, test, connections, bytes }) => `${client} ${test} c${connections} ${bytes}`);
    expect(new Set(loads)).toEqual(
      new Set(["polling latency c1 100", "polling bulk c1 65536", "blocking connect c16 100"]),
    );
    const routes = results.map(({ path, topology, proxies, proxy }) => [path, topology, proxies, proxy].join(" "));
    expect(new Set(routes)).toEqual(
      new Set(["direct loopback 0 ", "iptables loopback 2 shunt", "ebpf loopback 2 shunt"]),
    );
    // Of each route: two tests with requests have six metrics, bulk has two.
    expect(results).toHaveLength(3 * (6 + 2 + 6));
    for (const row of results) {
      expect(row.spread, JSON.stringify(row)).toBeGreaterThanOrEqual(0);
      // A tick is ten milliseconds: CPU time of a short measurement may be none.
      if (row.metric !== "cpu") expect(row.median, JSON.stringify(row)).toBeGreaterThan(0);
      expect(row.ratio === null ? typeof row.why : typeof row.ratio).toBe(row.ratio === null ? "string" : "number");
    }
    expect(distributions.filter(({ test }) => test === "latency").map(({ points }) => points.length)).toEqual(
      expect.arrayContaining([104, 104, 104]),
    );
    expect(readFileSync(bench.file("html"), "utf8")).toContain("<svg");
  });

  it("measures over veth, where TPROXY takes what arrives", async () => {
    await using bench = new BenchRun(["--only", "veth/(tproxy|nftables)/1-shunt/blocking/latency/c1/100B"]);
    expect(await bench.ended(), bench.output).toBe(0);
    expect(bench.left()).toEqual([]);
    const routes = bench.report().results.map(({ path, proxies }) => `${path} ${proxies}`);
    expect(new Set(routes)).toEqual(new Set(["direct 0", "tproxy 1", "nftables 1"]));
  });

  it.each([
    ["SIGINT", /^making loopback\/iptables/],
    ["SIGTERM", /^warming up loopback\/ebpf/],
    ["SIGHUP", /^round 1/],
  ] as const)("interrupted by %s after %s ends with everything gone", async (signal, moment) => {
    await using bench = new BenchRun(["--quick", "--only", "/(ebpf|iptables)/2-shunt/polling/latency/c1/"]);
    await bench.says(moment);
    bench.signal(signal);
    expect(await bench.ended(), bench.output).toBe(130);
    expect(bench.output).toContain("everything it made is gone again");
    expect(bench.left()).toEqual([]);
  });

  it("refuses a pattern that nothing fits", async () => {
    await using bench = new BenchRun(["--only", "no such thing"]);
    expect(await bench.ended()).toBe(1);
    expect(bench.output).toContain("--only no such thing: nothing of what is compared has such a name");
  });
});
