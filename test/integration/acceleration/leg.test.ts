// SPDX-License-Identifier: Apache-2.0
/** One workload that talks to a server that is nobody's: its bytes come to the proxy, and from it, past TCP. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patienceMs } from "../../support/inbox.ts";
import { echoServer, load } from "../../support/load.ts";
import { OracleClient, OracleServer, problemsOf, runOracle } from "../../support/oracle.ts";
import { PodPair } from "../../support/pod-pair.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

const PORT = 9000;
const ORACLE_PORT = 9100;
/** What an oracle does beside reading, writing and waiting: options that keep a socket out of the map, urgent data. */
const WITHOUT = ["--without", "zerocopy,lowat,late"];

function startPair(acceleration: Record<string, unknown> = {}): Promise<PodPair> {
  return PodPair.start({ mode: "ebpf", client: {}, agent: { acceleration: { mode: "auto", ...acceleration } } });
}

/** `ready` does not wait for the kernel's contract. */
const isOn = (pair: PodPair) => pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");

describe("between an application and its proxy", () => {
  let pair: PodPair;
  beforeAll(async () => {
    pair = await startPair({ paths: ["direct", "leg"] });
    await isOn(pair);
    const { server } = pair.lab;
    for (const address of [server.v4, server.v6]) await pair.processes.start(echoServer(address, PORT), server.path);
  });
  afterAll(() => pair?.[Symbol.asyncDispose]());

  /** Runs the load and gives what the records of its connections say. */
  async function ways(address: string, connections: number, ...test: readonly string[]) {
    const from = pair.agent.records().length;
    const report = await load(pair.lab.client, address, PORT, ...test, "-c", String(connections));
    await pair.agent.waitForRecords(() => true, from + connections);
    const records = pair.agent.records().slice(from);
    return { report, records, ways: records.map(({ acceleration }) => acceleration) };
  }

  const times = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

  it.each(["v4", "v6"] as const)("bytes go past TCP, and are counted once, %s", async (family) => {
    // So many that each of the four has its share, however unlike they are served.
    const seen = await ways(pair.lab.server[family], 4, "rr", "-n", "20000", "-s", "100");
    expect(seen.report).toMatchObject({ status: 0, errors: 0, bytesReceived: 2_000_000 });
    expect(seen.ways).toEqual(times(4, { sent: "leg", received: "leg", reason: "peer-unknown" }));
    const total = (field: "bytesSent" | "bytesReceived") => seen.records.reduce((sum, r) => sum + r[field], 0);
    expect([total("bytesSent"), total("bytesReceived")]).toEqual([2_000_000, 2_000_000]);
  });

  it("streams arrive byte by byte as they were sent", async () => {
    const { report } = await ways(pair.lab.server.v4, 4, "verify", "-n", "8", "-s", "3000000");
    expect(report).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
  });

  it("shunt flows tells of connections that are there", async () => {
    const from = pair.agent.records().length;
    const running = load(pair.lab.client, pair.lab.server.v4, PORT, "rr", "-c", "2", "-d", "2");
    await expect
      .poll(async () => (await flows()).map(({ acceleration }) => acceleration?.sent), { timeout: patienceMs(10_000) })
      .toEqual(["leg", "leg"]);
    expect(await running).toMatchObject({ status: 0, errors: 0 });
    await pair.agent.waitForRecords(() => true, from + 2);
  });

  const flows = async (): Promise<{ readonly acceleration?: { readonly sent: string } }[]> => {
    const { stdout } = await runCommand(shuntArgv(["flows", "--once", "--json", "--name", pair.agent.name]));
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as object);
  };

  it("a client that blocks is copied for", async () => {
    const seen = await ways(pair.lab.server.v4, 1, "rr", "-n", "1000", "--blocking");
    expect(seen.report).toMatchObject({ status: 0, errors: 0 });
    expect(seen.ways).toEqual(times(1, { sent: "copy", received: "copy", reason: "blocking" }));
  });

  it("connections that are half-closed, reset, and read slowly get every byte", async () => {
    const { client, server } = pair.lab;
    await using oracle = await OracleServer.start(server.v4, { netns: server.path, port: ORACLE_PORT });
    const flags = ["-n", "200", "-c", "60", "--seed", "3", "--client", "polling", ...WITHOUT];
    const from = pair.agent.records().length;
    const run = await runOracle(oracle, { netns: client.path, flags });
    await pair.agent.waitForRecords(() => true, from + run.server.transfers);
    expect(problemsOf(run)).toEqual([]);
    expect(run.client.pastTcpSent).toBeGreaterThan(1_000);
    expect(run.client.pastTcpReceived).toBeGreaterThan(1_000);
    expect(run.server.pastTcpSent).toBe(0);
  });

  it("is switched off and on by hand, under load, and no connection notices", async () => {
    const from = pair.agent.records().length;
    const running = load(pair.lab.client, pair.lab.server.v4, PORT, "rr", "-c", "8", "-s", "1000", "-d", "1");
    for (const state of ["off", "on", "off", "on"]) {
      const argv = shuntArgv(["acceleration", `--${state}`, "--name", pair.agent.name]);
      expect(await runCommand(argv)).toMatchObject({ status: 0 });
    }
    expect(await running).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
    await pair.agent.waitForRecords(() => true, from + 8);
  });

  it("where only that is safe, what the application sends goes past TCP and what it receives does not", async () => {
    await pair.agent.reconfigure({
      ...pair.agentFile(),
      acceleration: { mode: "auto", paths: ["direct", "leg"], contract: "asymmetric" },
    });
    const seen = await ways(pair.lab.server.v4, 4, "rr", "-n", "20000", "-s", "100");
    expect(seen.report).toMatchObject({ status: 0, errors: 0 });
    expect(seen.ways).toEqual(times(4, { sent: "copy", received: "leg", reason: "contract" }));
  });
});

it("the end of the agent is a reset for its application, within a second and after all that was redirected", async () => {
  await using pair = await startPair({ paths: ["leg"] });
  await isOn(pair);
  const { client, server } = pair.lab;
  await using oracle = await OracleServer.start(server.v4, {
    netns: server.path,
    port: ORACLE_PORT,
    flags: ["--deaths"],
  });
  const flags = [
    "-n",
    "6",
    "-c",
    "6",
    "--min-size",
    "1000000000",
    "--deaths",
    "--client",
    "polling",
    "--only",
    "turns",
  ];
  const settings = { netns: client.path, address: oracle.address, port: ORACLE_PORT, flags };
  await using running = await OracleClient.start(settings);
  await expect
    .poll(async () => (await pair.agent.ask<{ workers: { connections: number }[] }>("status")).workers, {
      timeout: patienceMs(10_000),
    })
    .toSatisfy((workers: { connections: number }[]) => workers.reduce((sum, w) => sum + w.connections, 0) === 6);
  const killed = Date.now() / 1000;
  await pair.agent.crash();
  const report = await running.report();
  expect(report, report.notes.join("\n")).toMatchObject({ clean: true, died: 6 });
  expect(report.lastEnd - killed).toBeLessThan(patienceMs(1000) / 1000);
});
