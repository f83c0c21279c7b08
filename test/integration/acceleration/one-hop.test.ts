// SPDX-License-Identifier: Apache-2.0
/** Two workloads of one agent that agree on it: their connections pass the first one's proxy only. */
import { readdirSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { patienceMs } from "../../support/inbox.ts";
import { echoServer, load } from "../../support/load.ts";
import { problemsOf } from "../../support/oracle.ts";
import { OracleRig } from "../../support/oracle-rig.ts";
import { PodPair, type Traffic } from "../../support/pod-pair.ts";
import { runCommand } from "../../support/shunt.ts";

const PORT = 9000;
const EXCLUDED_PORT = 9001;
const BLOCKING_PORT = 9002;

const UID = 1234;

/** Descriptors come and go while they are looked at. */
function inodeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? 0;
}

const pairs: PodPair[] = [];
afterAll(async () => {
  for (const pair of pairs) await pair[Symbol.asyncDispose]();
});

async function start(client: string, server: string, traffic: Traffic = {}): Promise<PodPair> {
  const pair = await PodPair.start({
    mode: "ebpf",
    client: { acceleration: { hops: client }, ...traffic },
    server: { acceleration: { hops: server, excludePorts: [EXCLUDED_PORT] } },
    agent: { acceleration: { mode: "auto" } },
  });
  pairs.push(pair);
  await pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");
  const { v4, v6, path } = pair.lab.server;
  for (const address of [v4, v6]) await pair.processes.start(echoServer(address, PORT), path);
  await pair.processes.start(echoServer(v4, EXCLUDED_PORT), path);
  await pair.processes.start(echoServer(v4, BLOCKING_PORT, "--blocking"), path);
  return pair;
}

/** Runs the load; the records of its connections, by workload and the ways their bytes took. */
async function records(pair: PodPair, address: string, port: number, count: number, ...test: string[]) {
  const from = pair.agent.records().length;
  expect(await load(pair.lab.client, address, port, ...test)).toMatchObject({ status: 0, errors: 0 });
  await pair.agent.waitForRecords(() => true, from + count);
  return pair.agent
    .records()
    .slice(from)
    .map(({ workload, acceleration }) => `${workload} ${acceleration?.sent} ${acceleration?.received}`);
}

const times = (count: number, text: string): string[] => Array.from({ length: count }, () => text);

/** How many connections the server's interception has let pass for that reason. */
async function leftOut(pair: PodPair): Promise<number> {
  const { workloads } = await pair.agent.ask<{
    workloads: { name: string; counters: { inbound: Record<string, number> } }[];
  }>("status");
  return workloads.find(({ name }) => name === "server")?.counters.inbound["hop-left-out"] ?? 0;
}

describe("of two hops that are to be one", () => {
  it("the second is left out, and nothing else changes", async () => {
    const pair = await start("one", "one");
    const { v4, v6 } = pair.lab.server;
    for (const address of [v4, v6])
      expect(await records(pair, address, PORT, 50, "connect", "-n", "50", "-s", "100")).toEqual(
        times(50, "client copy copy"),
      );
    expect(await leftOut(pair)).toBe(100);
    for (const address of [v4, v6])
      expect(await records(pair, address, PORT, 4, "rr", "-n", "20000", "-s", "100", "-c", "4")).toEqual(
        times(4, "client direct direct"),
      );
    const verify = ["verify", "-n", "8", "-c", "4", "-s", "3000000"];
    expect(await records(pair, v4, PORT, 8, ...verify)).toHaveLength(8);
    const excluded = await records(pair, v4, EXCLUDED_PORT, 1, "rr", "-n", "2000");
    const blocking = await records(pair, v4, BLOCKING_PORT, 1, "rr", "-n", "2000");
    expect([...excluded, ...blocking].filter((each) => each.includes("direct"))).toEqual([]);
    expect(await leftOut(pair)).toBe(118);
  });

  it("a program that is left alone as the proxy is, by its user, passes the proxy at the other end", async () => {
    const pair = await start("one", "one", { proxy: { uid: [UID] } });
    const { v4 } = pair.lab.server;
    const from = pair.agent.records().length;
    const program = `import os, socket, encodings.idna; os.setuid(${UID}); socket.create_connection(("${v4}", ${PORT})).close()`;
    const argv = [`--net=${pair.lab.client.path}`, "python3", "-c", program];
    expect(await runCommand(["nsenter", ...argv])).toMatchObject({ status: 0, stderr: "" });
    await pair.agent.waitForRecords(() => true, from + 1);
    expect(pair.agent.records().slice(from)).toMatchObject([{ workload: "server" }]);
    expect(await leftOut(pair)).toBe(0);
  });

  it("a connection outlives the other workload, whose namespace the agent lets go", async () => {
    const pair = await start("one", "one");
    const { path, v4 } = pair.lab.server;
    const [ino, open] = [inodeOf(path), `/proc/${pair.agent.pid}/fd`];
    const isHeld = (): boolean => readdirSync(open).some((fd) => inodeOf(`${open}/${fd}`) === ino);
    const running = load(pair.lab.client, v4, PORT, "rr", "-c", "4", "-s", "100", "-d", "4");
    await sleep(1_000);
    expect(isHeld()).toBe(true);
    const { workloads, ...file } = pair.agentFile();
    await pair.agent.reconfigure({ ...file, workloads: (workloads as object[]).slice(0, 1) });
    const deadline = performance.now() + patienceMs(2_500);
    while (isHeld() && performance.now() < deadline) await sleep(100);
    expect(isHeld()).toBe(false);
    expect(await running).toMatchObject({ status: 0, errors: 0 });
  });

  it.each([
    ["one", "both"],
    ["both", "one"],
  ])("both are passed where the client's says %s and the server's %s", async (client, server) => {
    const pair = await start(client, server);
    const found = await records(pair, pair.lab.server.v4, PORT, 10, "connect", "-n", "5", "-s", "100");
    expect(found.toSorted()).toEqual([...times(5, "client copy copy"), ...times(5, "server copy copy")]);
    expect(await leftOut(pair)).toBe(0);
  });

  it("programs that poll or block get every byte, and no end that plain TCP would not give", async () => {
    await using rig = await OracleRig.start("loopback", "auto", { hops: "one" });
    expect(await rig.missing()).toBeUndefined();
    const run = await rig.run(["-n", "200", "-c", "60", "--without", "zerocopy,lowat,late"]);
    expect(problemsOf(run)).toEqual([]);
    expect(run.client.pastTcpReceived + run.server.pastTcpReceived).toBeGreaterThan(0);
  });
});
