// SPDX-License-Identifier: Apache-2.0
/** The oracle notices what it is there for: a relay between its ends does one thing wrong. */
import { join } from "node:path";
import { describe, it } from "vitest";
import { LabProcess } from "../../support/lab-process.ts";
import { type OracleReport, type OracleRun, OracleServer, problemsOf, runOracle } from "../../support/oracle.ts";

const RELAY = join(import.meta.dirname, "../../../addon/build/Release/shunt-oracle");

/** A run with a relay that does it in every fourth connection. */
async function runThrough(fault: string, direction: string): Promise<OracleRun> {
  await using server = await OracleServer.start("127.0.0.1", { flags: ["--stall", "2"] });
  const ends = ["127.0.0.1", "0", "127.0.0.1", String(server.port)];
  const flags = ["--fault", fault, "--every", "4", "--direction", direction, "--after", "2000"];
  await using relay = await LabProcess.start([RELAY, "relay", ...ends, ...flags]);
  const port = Number((await relay.line(/^ready /)).split(" ")[2]);
  // Long enough for the place of the fault, and ended by nothing else.
  const sizes = ["--min-size", "8000", "--size", "30000", "--only", "half-close,edge,peek,readv,writev"];
  const through = { address: server.address, port, report: () => server.report() };
  return await runOracle(through, { flags: ["-n", "16", "-c", "16", "--stall", "2", ...sizes] });
}

const sum = ({ client, server }: OracleRun, of: (report: OracleReport) => number): number => of(client) + of(server);
const unexpected = ({ errors }: OracleReport): number =>
  errors.filter(({ tcp }) => !tcp).reduce((count, error) => count + error.count, 0);

describe.concurrent("a relay that", { retry: 0 }, () => {
  it("does nothing wrong is not noticed", async ({ expect }) => {
    expect(problemsOf(await runThrough("none", "both"))).toEqual([]);
  });

  it.for([
    ["swaps bytes", "swap", (run: OracleRun) => sum(run, (report) => report.reordered)],
    ["drops bytes", "drop", (run: OracleRun) => sum(run, (report) => report.lost)],
    ["repeats bytes", "duplicate", (run: OracleRun) => sum(run, (report) => report.duplicated)],
    ["changes a bit", "flip", (run: OracleRun) => sum(run, (report) => report.corrupt)],
    ["adds a byte", "insert", (run: OracleRun) => sum(run, (report) => report.inserted)],
    ["stalls", "stall", (run: OracleRun) => sum(run, (report) => report.stuck)],
    ["swallows the end", "swallow-eof", (run: OracleRun) => sum(run, (report) => report.stuck)],
    ["ends early", "early-eof", (run: OracleRun) => sum(run, ({ deviations }) => deviations["falseEof"] ?? 0)],
    ["resets", "reset", (run: OracleRun) => sum(run, unexpected)],
  ] as const)("%s is noticed for just that, in either direction", async ([, fault, count], { expect }) => {
    for (const direction of ["up", "down"]) {
      const run = await runThrough(fault, direction);
      expect(count(run), `${fault} ${direction}`).toBeGreaterThan(0);
      expect(problemsOf(run)).not.toEqual([]);
      expect([...run.client.notes, ...run.server.notes].join("\n")).toContain("--number");
    }
  });
});
