// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BenchError } from "../../../src/bench/bench-error.ts";
import type { BenchOptions } from "../../../src/bench/bench-options.ts";
import { temporaryFolder } from "../../support/admin-fixture.ts";
import { madeUpReport } from "../../support/bench-report.ts";
import { type CliResult, shunt } from "../../support/cli-fixture.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder[Symbol.dispose]());

const report = madeUpReport();
const asked: BenchOptions[] = [];

function bench(argv: readonly string[], result = report): Promise<CliResult> {
  const run = async (options: BenchOptions): Promise<typeof report> => {
    asked.push(options);
    options.onProgress("round 1: loopback/direct/0");
    options.onProgress("round 1: loopback/ebpf/2-shunt");
    return result;
  };
  return shunt(["bench", ...argv], { actions: { bench: run } });
}

describe("shunt bench", () => {
  it("hands on what was asked, prints a table, and tells rounds on standard error", async () => {
    const { status, out, err } = await bench(["--quick", "--only", "ebpf/.*c16"]);
    expect(status).toBe(0);
    expect(asked.at(-1)).toMatchObject({ quick: true, only: /ebpf\/.*c16/ });
    expect(out).toMatch(/ebpf-spliced\/2-shunt .*×0\.65/);
    expect(err).toBe("round 1\n");
  });

  it("writes JSON and HTML to files", async () => {
    const [json, html] = [join(folder.path, "bench.json"), join(folder.path, "bench.html")];
    expect((await bench(["--json", json, "--html", html])).status).toBe(0);
    expect(JSON.parse(readFileSync(json, "utf8"))).toEqual(JSON.parse(JSON.stringify(report)));
    expect(readFileSync(html, "utf8")).toMatch(/^<!doctype html>/);
  });

  it("prints JSON instead of the table with --json -", async () => {
    const { out } = await bench(["--json", "-"]);
    expect(JSON.parse(out)).toMatchObject({ results: expect.any(Array) });
  });

  it("ends with 1 when a route failed", async () => {
    expect((await bench([], { ...report, failed: ["loopback/ebpf/2-shunt: no agent"] })).status).toBe(1);
  });

  it("does not begin when a file cannot be written", async () => {
    const before = asked.length;
    const { status, err } = await bench(["--html", "/nowhere/bench.html"]);
    expect([status, asked.length]).toEqual([1, before]);
    expect(err).toMatch(/^shunt bench: \/nowhere\/bench\.html can't be written: ENOENT/);
  });

  it("says that nothing is left when it is interrupted, with the status of a shell", async () => {
    const interrupted = (): Promise<never> => Promise.reject(new BenchError("ERR_BENCH_INTERRUPTED", "interrupted"));
    const { status, err } = await shunt(["bench"], { actions: { bench: interrupted } });
    expect([status, err]).toEqual([130, "shunt bench: interrupted; everything it made is gone again\n"]);
  });
});
