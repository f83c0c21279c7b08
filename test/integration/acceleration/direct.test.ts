// SPDX-License-Identifier: Apache-2.0
/** Two workloads whose connections go through both proxies: what goes past them, and what does not, and why. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { echoServer, load } from "../../support/load.ts";
import { MODES } from "../../support/modes.ts";
import { PodPair } from "../../support/pod-pair.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

const PORT = 9000;
const BLOCKING_PORT = 9001;
const COUNT_PORT = 9003;

/** One of each way in which connections come to the proxy; SHUNT_ORACLE=long takes every mode. */
const TRIED = process.env["SHUNT_ORACLE"] === "long" ? MODES : (["ebpf", "nftables"] as const);

describe.each(TRIED)("with acceleration, in mode %s,", (mode) => {
  let pair: PodPair;
  beforeAll(async () => {
    pair = await PodPair.start({
      mode,
      client: {},
      server: { acceleration: { excludePorts: [9002] } },
      agent: { acceleration: { mode: "auto", paths: ["direct", "leg"] } },
    });
    // `ready` does not wait for the kernel's contract.
    await pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");
    const { server } = pair.lab;
    for (const address of [server.v4, server.v6]) {
      await pair.processes.start(echoServer(address, PORT), server.path);
      await pair.processes.start(echoServer(address, 9002), server.path);
    }
    await pair.processes.start(echoServer(server.v4, BLOCKING_PORT, "--blocking"), server.path);
    await pair.processes.start(echoServer(server.v4, COUNT_PORT, "--mode", "count"), server.path);
  });
  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  const recordsOf = (port: number, from: number) =>
    pair.agent
      .records()
      .slice(from)
      .filter(({ originalDestination }) => originalDestination?.endsWith(`:${port}`));

  /** Runs the load and gives the records of its connections, of both proxies. */
  async function accelerated(port: number, address: string, connections: number, ...test: readonly string[]) {
    const from = pair.agent.records().length;
    const report = await load(pair.lab.client, address, port, ...test);
    await pair.agent.waitForRecords(() => true, from + 2 * connections);
    return { report, records: recordsOf(port, from) };
  }

  it.each(["v4", "v6"] as const)("polling programs hand their bytes to each other, %s", async (family) => {
    const address = pair.lab.server[family];
    // So many that each of the four has its share, however unlike they are served.
    const test = ["rr", "-n", "60000", "-s", "100", "-c", "4"];
    const { report, records } = await accelerated(PORT, address, 4, ...test);
    expect(report).toMatchObject({ status: 0, errors: 0, bytesReceived: 6_000_000 });
    const direct = { sent: "direct", received: "direct", reason: "none" };
    expect(records.map(({ acceleration }) => acceleration)).toEqual(Array.from({ length: 8 }, () => direct));
    // Counted where they did not pass.
    const total = (workload: string) =>
      records.filter((r) => r.workload === workload).reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
    expect([total("client"), total("server")]).toEqual([6_000_000, 6_000_000]);
  });

  it("a program that blocks never enters the map", async () => {
    const { report, records } = await accelerated(BLOCKING_PORT, pair.lab.server.v4, 1, "rr", "-n", "2000");
    expect(report).toMatchObject({ status: 0, errors: 0 });
    const reasons = new Map(records.map(({ workload, acceleration }) => [workload, acceleration]));
    expect(reasons.get("server")).toEqual({ sent: "copy", received: "copy", reason: "blocking" });
    // Its bytes come to the proxy by the short way, from where they are copied.
    expect(reasons.get("client")).toEqual({ sent: "leg", received: "leg", reason: "peer-unknown" });
  });

  it("excluded ports are copied", async () => {
    const { records } = await accelerated(9002, pair.lab.server.v4, 1, "rr", "-n", "2000");
    const server = records.find(({ workload }) => workload === "server");
    expect(server?.acceleration).toEqual({ sent: "copy", received: "copy", reason: "port-excluded" });
  });

  it("a stream that begins at once and never pauses gets past the proxies", async () => {
    const bytes = 400_000_000;
    const test = ["bulk", "-n", `${bytes}`, "-s", "65536", "--confirm"];
    const ways = new Set<string | undefined>();
    // Whether the reader ever catches up is a matter of who gets a CPU.
    for (let tries = 0; tries < 6 && !ways.has("direct"); tries++) {
      const { report, records } = await accelerated(COUNT_PORT, pair.lab.server.v4, 1, ...test);
      expect(report).toMatchObject({ status: 0, errors: 0, bytesSent: bytes });
      for (const { acceleration } of records) ways.add(acceleration?.received);
    }
    expect(ways).toContain("direct");
  });

  it("streams arrive byte by byte as they were sent", async () => {
    const test = ["verify", "-n", "12", "-c", "4", "-s", "3000000"];
    const { report } = await accelerated(PORT, pair.lab.server.v4, 12, ...test);
    expect(report).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
  });

  it("is switched off and on by hand, under load, and no connection notices", async () => {
    const from = pair.agent.records().length;
    const running = load(pair.lab.client, pair.lab.server.v4, PORT, "rr", "-c", "8", "-s", "1000", "-d", "1");
    const switched = async (state: "on" | "off") =>
      runCommand(shuntArgv(["acceleration", `--${state}`, "--name", pair.agent.name, "--json"]));
    for (const state of ["off", "on", "off", "on"] as const) {
      const { status, stdout } = await switched(state);
      expect([status, (JSON.parse(stdout) as { state: string }).state]).toEqual([0, state]);
    }
    expect(await running).toMatchObject({ status: 0, errors: 0 });
    await pair.agent.waitForRecords(() => true, from + 16);
    const after = await accelerated(PORT, pair.lab.server.v4, 1, "rr", "-n", "2000");
    expect(after.records.map(({ acceleration }) => acceleration?.sent)).toEqual(["direct", "direct"]);
  });

  it("a reload that switches it off is obeyed by connections that are there, none of which is lost", async () => {
    const from = pair.agent.records().length;
    const running = load(pair.lab.client, pair.lab.server.v4, PORT, "rr", "-c", "8", "-s", "1000", "-d", "2");
    await pair.agent.waitForLog(() => true);
    expect(await pair.agent.ask("status")).toMatchObject({ acceleration: { state: "on" } });
    await pair.agent.reconfigure({ ...pair.agentFile(), acceleration: { mode: "off" } });
    expect(await running).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
    await pair.agent.waitForRecords(() => true, from + 16);
    const { report, records } = await accelerated(PORT, pair.lab.server.v4, 1, "rr", "-n", "2000");
    expect(report).toMatchObject({ status: 0, errors: 0 });
    expect(records.map(({ acceleration }) => acceleration)).toEqual([undefined, undefined]);
  });
});
