// SPDX-License-Identifier: Apache-2.0
/** What happens to the agent while bytes go past it: changes lose none, deaths end connections and invent no end. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TRIED } from "../../support/acceleration.ts";
import { patienceMs } from "../../support/inbox.ts";
import { OracleClient, type OracleReport, type OracleServer, problemsOf } from "../../support/oracle.ts";
import { OracleRig } from "../../support/oracle-rig.ts";
import { shunt } from "../../support/shunt.ts";

const WORKER_KILLER = join(import.meta.dirname, "../../support/worker-killer.mjs");
const APART = ["--without", "zerocopy,lowat,late"];
/** Connections that come and go, and some that stay. */
const LOAD = ["-n", "1000000", "-c", "24", "--size", "60000", ...APART];
const ENDURING = ["-n", "6", "-c", "6", "--min-size", "12000000", "--without", "zerocopy,lowat,late,reset"];

async function startClient(rig: OracleRig, server: OracleServer, flags: readonly string[]): Promise<OracleClient> {
  return OracleClient.start({ netns: rig.clientNetns, address: server.address, port: server.port, flags });
}

/** Connections that went on their way since the agent has started. */
async function made(rig: OracleRig): Promise<number> {
  const { workloads } = await rig.agent.ask<{ workloads: { connections: { total: number } }[] }>("status");
  return workloads.reduce((sum, { connections }) => sum + connections.total, 0);
}

/** Waits for so many more connections: what was changed has been in force for them. */
const more = async (rig: OracleRig, count: number): Promise<void> => reach(rig, (await made(rig)) + count);

async function reach(rig: OracleRig, wanted: number): Promise<void> {
  const deadline = performance.now() + patienceMs(30_000);
  while ((await made(rig)) < wanted)
    if (performance.now() > deadline) throw new Error(`only ${await made(rig)} connections of ${wanted}`);
}

describe.each(TRIED)("under load in mode %s,", { timeout: patienceMs(120_000) }, (acceleration) => {
  let rig: OracleRig;
  let missing: string | undefined;
  beforeAll(async () => {
    rig = await OracleRig.start("two namespaces", acceleration);
    missing = await rig.missing();
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());

  it("changes of the configuration, off and on again lose no byte", async ({ skip }) => {
    skip(missing !== undefined, missing);
    await using server = await rig.server();
    await using coming = await startClient(rig, server, LOAD);
    await using staying = await startClient(rig, server, ENDURING);
    const original = rig.agentFile();
    const changes: (() => Promise<unknown>)[] = [
      () => rig.agent.reconfigure({ ...original, proxy: { idleTimeout: "5m" } }),
      () => shunt(["acceleration", "--name", rig.agent.name, "--off"]),
      () => shunt(["acceleration", "--name", rig.agent.name, "--on"]),
      () => rig.agent.reconfigure(rig.agentFile({ excludePorts: [9000, 9002] })),
      () => rig.agent.reconfigure({ ...original, acceleration: { mode: "off" } }),
      () => rig.agent.reconfigure(original),
    ];
    for (const change of changes) {
      await more(rig, 40);
      await change();
    }
    await more(rig, 40);
    coming.signal("SIGTERM");
    const clients = [await coming.report(), await staying.report()];
    const client = clients.reduce((a, b) => ({
      ...a,
      clean: a.clean && b.clean,
      transfers: a.transfers + b.transfers,
      resets: a.resets + b.resets,
      notes: [...a.notes, ...b.notes],
    }));
    expect(problemsOf({ client, server: await server.report() })).toEqual([]);
  });
});

/** Nothing was lost or invented before the end that an end of the proxy brings. */
function expectOnlyDeaths(report: OracleReport): void {
  expect(report, report.notes.join("\n")).toMatchObject({ clean: true });
}

describe.each(TRIED)("when the workers are terminated in mode %s,", (acceleration) => {
  it("every connection of theirs ends within a second, none as if all had come, and new ones are served", async ({
    skip,
  }) => {
    const env = { NODE_OPTIONS: `--import=${WORKER_KILLER}` };
    await using rig = await OracleRig.start("two namespaces", acceleration, {}, env);
    const missing = await rig.missing();
    skip(missing !== undefined, missing);
    await using server = await rig.server({ flags: ["--deaths"] });
    const deaths = ["--deaths", "--seed", "3", "--without", "slow,buffers"];
    await using staying = await startClient(rig, server, [...ENDURING, "--min-size", "1000000000", ...deaths]);
    await reach(rig, 12);
    const killed = Date.now() / 1000;
    rig.agent.signal("SIGUSR2");
    const client = await staying.report();
    expectOnlyDeaths(client);
    expect(client).toMatchObject({ transfers: 6, died: 6 });
    expect(client.lastEnd - killed).toBeLessThan(patienceMs(1000) / 1000);
    await rig.agent.waitForLog(({ msg }) => msg === "worker replaced");
    await using coming = await startClient(rig, server, [
      "-n",
      "60",
      "-c",
      "12",
      "--size",
      "60000",
      ...APART,
      ...deaths,
    ]);
    expect(await coming.report()).toMatchObject({ clean: true, transfers: 60, died: 0 });
    const accepted = await server.report();
    expectOnlyDeaths(accepted);
    expect(accepted).toMatchObject({ died: 6 });
  });
});

describe.each(TRIED)("when the agent is killed in mode %s,", (acceleration) => {
  it("every connection ends at both ends within a second, none as if all had come", async ({ skip }) => {
    await using rig = await OracleRig.start("two namespaces", acceleration);
    const missing = await rig.missing();
    skip(missing !== undefined, missing);
    await using server = await rig.server({ flags: ["--deaths"] });
    // Who takes his time with what is there already has an end of his own.
    const deaths = ["--deaths", "--seed", "2", "--without", "slow,buffers"];
    await using coming = await startClient(rig, server, [...LOAD, ...deaths]);
    await using staying = await startClient(rig, server, [...ENDURING, "--min-size", "1000000000", ...deaths]);
    await more(rig, 80);
    const killed = Date.now() / 1000;
    await rig.agent.crash();
    const reports = [await coming.report(), await staying.report(), await server.report()];
    for (const report of reports) {
      expectOnlyDeaths(report);
      expect(report.lastEnd - killed).toBeLessThan(patienceMs(1000) / 1000);
    }
    expect(reports.map(({ died }) => died > 0)).toEqual([true, true, true]);
  });

  it("what went past it and is unread can be read, then comes the reset", async ({ skip }) => {
    await using rig = await OracleRig.start("two namespaces", acceleration);
    const missing = await rig.missing();
    skip(missing !== undefined, missing);
    await using server = await rig.server({ flags: ["--deaths"] });
    const ends = ["--client", "polling", "--server", "polling", "--only", "none"];
    const flags = ["-n", "40", "-c", "40", "--idle", "--min-size", "30000000", "--deaths", ...ends];
    await using client = await startClient(rig, server, flags);
    await client.parked();
    const killed = Date.now() / 1000;
    await rig.agent.crash();
    // Who waits to write is told at once, though nobody reads.
    const sender = await client.report();
    expectOnlyDeaths(sender);
    expect(sender).toMatchObject({ transfers: 40, died: 40 });
    expect(sender.lastEnd - killed).toBeLessThan(patienceMs(1000) / 1000);
    server.release();
    const reader = await server.report();
    expectOnlyDeaths(reader);
    expect(reader).toMatchObject({ transfers: 40, died: 40 });
    // All that was accepted past TCP was there to be read.
    expect(reader.pastTcpReceived).toBeGreaterThanOrEqual(sender.pastTcpSent);
    if (acceleration === "auto") expect(sender.pastTcpSent).toBeGreaterThan(40 * 100_000);
  });
});
