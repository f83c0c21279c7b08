// SPDX-License-Identifier: Apache-2.0
/** Programs that block, between two workloads: their bytes go from one proxy's socket to the other's. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LabProcess, python } from "../../support/lab-process.ts";
import { echoServer, load } from "../../support/load.ts";
import { PodPair, type PodPairSettings } from "../../support/pod-pair.ts";
import { runCommand, shuntArgv } from "../../support/shunt.ts";

const PORTS = { blocking: 9001, polling: 9002, threads: 9003, "hang-up": 9004, idle: 9005, alone: 9006 };
const SPLICED = { sent: "splice", received: "splice" };

async function startPair(settings: Pick<PodPairSettings, "server"> = { server: {} }): Promise<PodPair> {
  const acceleration = { mode: "auto", paths: ["splice"] };
  const pair = await PodPair.start({ mode: "ebpf", client: {}, agent: { acceleration }, ...settings });
  await pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");
  return pair;
}

const serve = (pair: PodPair, mode: string, port: number): Promise<LabProcess> =>
  pair.processes.start(
    python("blocking_peer.py", "serve", mode, pair.lab.server.v4, String(port)),
    pair.lab.server.path,
  );

const call = (pair: PodPair, mode: string, port: number): Promise<LabProcess> =>
  pair.processes.start(
    python("blocking_peer.py", "call", mode, pair.lab.server.v4, String(port)),
    pair.lab.client.path,
  );

/** The records of the connections to a port, when there are so many. */
async function recordsOf(pair: PodPair, port: number, count: number) {
  const ofPort = ({ originalDestination }: { originalDestination: string | null }) =>
    originalDestination?.endsWith(`:${port}`) ?? false;
  await pair.agent.waitForRecords(ofPort, count);
  return pair.agent.records().filter(ofPort);
}

describe("spliced connections through both proxies", () => {
  let pair: PodPair;
  beforeAll(async () => {
    pair = await startPair();
    const { server } = pair.lab;
    await pair.processes.start(echoServer(server.v4, PORTS.blocking, "--blocking"), server.path);
    for (const address of [server.v4, server.v6]) {
      await pair.processes.start(echoServer(address, PORTS.polling), server.path);
    }
  });
  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  it("carry what blocking programs say, in both directions, and count it", async () => {
    const report = await load(pair.lab.client, pair.lab.server.v4, PORTS.blocking, "rr", "-n", "4000", "--blocking");
    expect(report).toMatchObject({ status: 0, errors: 0 });
    const records = await recordsOf(pair, PORTS.blocking, 2);
    expect(records.map(({ acceleration }) => acceleration)).toMatchObject([SPLICED, SPLICED]);
    expect(records.map(({ bytesSent, bytesReceived }) => [bytesSent, bytesReceived])).toEqual([
      [4000, 4000],
      [4000, 4000],
    ]);
  });

  it.each(["v4", "v6"] as const)("keep streams in order, byte by byte, %s", async (family) => {
    for (const size of ["20000", "3000000"]) {
      const test = ["verify", "-n", "24", "-c", "6", "-s", size];
      const report = await load(pair.lab.client, pair.lab.server[family], PORTS.polling, ...test);
      expect(report).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
    }
  });

  it("give a program with one thread that reads and one that writes what it sent", async () => {
    await serve(pair, "echo", PORTS.threads);
    const callers = await Promise.all(Array.from({ length: 4 }, () => call(pair, "threads", PORTS.threads)));
    for (const caller of callers) expect(await caller.line(/^same|^different|^Trace/, 60_000)).toBe("same");
    const records = await recordsOf(pair, PORTS.threads, 8);
    expect(records.filter(({ acceleration }) => acceleration?.received === "splice").length).toBeGreaterThan(0);
  });

  it("bring what is sent after the server has ended its half", async () => {
    const server = await serve(pair, "hang-up", PORTS["hang-up"]);
    const caller = await call(pair, "hang-up", PORTS["hang-up"]);
    const sent = await caller.line(/^sent/, 60_000);
    const read = await server.line(/^got /, 60_000);
    expect(read.replace("got", "sent").concat(" 0")).toBe(sent);
    const records = await recordsOf(pair, PORTS["hang-up"], 2);
    expect(records.map(({ outcome }) => outcome)).toEqual(["closed", "closed"]);
    expect(records.map(({ acceleration }) => acceleration)).toMatchObject([SPLICED, SPLICED]);
  });

  it("make a sender wait for a reader that does not read", async () => {
    const server = await serve(pair, "idle", PORTS.idle);
    const caller = await call(pair, "idle", PORTS.idle);
    const sent = await caller.line(/^sent/, 60_000);
    const bytes = Number(sent.split(" ")[1]);
    // Six sockets' buffers, which grow to 4 or 6 MB (tcp_wmem, tcp_rmem), the budget and a few chunks.
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(3 * (4 + 6 + 1) * 2 ** 20);
    server.child.stdin?.write("go on\n");
    expect((await server.line(/^got /, 60_000)).replace("got", "sent")).toBe(sent);
  });

  it("go on by copying when they are switched off, and nothing is lost", async () => {
    const from = pair.agent.records().length;
    const test = ["rr", "-c", "4", "-s", "1000", "-d", "2", "--blocking"];
    const running = load(pair.lab.client, pair.lab.server.v4, PORTS.polling, ...test);
    for (const state of ["off", "on", "off", "on"] as const) {
      const { status } = await runCommand(
        shuntArgv(["acceleration", `--${state}`, "--name", pair.agent.name, "--json"]),
      );
      expect(status).toBe(0);
    }
    expect(await running).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
    await pair.agent.waitForRecords(() => true, from + 8);
  });
});

describe("a spliced connection", () => {
  it("is spliced by a proxy alone where the other end has none", async () => {
    await using pair = await startPair({});
    const { server } = pair.lab;
    await pair.processes.start(echoServer(server.v4, PORTS.alone, "--blocking"), server.path);
    // So many that they go on when the other ways have been tried.
    const report = await load(pair.lab.client, server.v4, PORTS.alone, "rr", "-n", "30000", "--blocking");
    expect(report).toMatchObject({ status: 0, errors: 0 });
    const records = await recordsOf(pair, PORTS.alone, 1);
    expect(records.map(({ acceleration }) => acceleration)).toMatchObject([SPLICED]);
    expect(records.map(({ bytesSent, bytesReceived }) => [bytesSent, bytesReceived])).toEqual([[30_000, 30_000]]);
  });

  it("ends by a reset, not by an end of data, when its proxies are killed", async () => {
    await using pair = await startPair();
    await serve(pair, "echo", PORTS.threads);
    const caller = await call(pair, "wait", PORTS.threads);
    await caller.line(/^done/, 60_000);
    process.kill(pair.agent.pid, "SIGKILL");
    expect(await caller.line(/^got |Error$/, 10_000)).toBe("ConnectionResetError");
  });
});
