// SPDX-License-Identifier: Apache-2.0
/**
 * Every byte of many connections, held against what it should be: over plain TCP, through both proxies that copy, and
 * past them.
 *
 * SHUNT_ORACLE=long makes it a million short connections and a hundred of 1 GB; SHUNT_ORACLE_SEED other ones.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TRIED } from "../../support/acceleration.ts";
import { patienceMs } from "../../support/inbox.ts";
import { OracleServer, problemsOf, runOracle } from "../../support/oracle.ts";
import { OracleRig, TOPOLOGIES } from "../../support/oracle-rig.ts";

const LONG = process.env["SHUNT_ORACLE"] === "long";
const SEED = ["--seed", process.env["SHUNT_ORACLE_SEED"] ?? "1"];

/** Connections, as many as the form of the run has. */
const many = (short: number, long: number): string[] => ["-n", String(LONG ? long : short), "-c", "120", ...SEED];
const SHORT = many(300, 250_000);
const SPLICED = many(100, 10_000);
const FEW = many(80, 10_000);
const STREAMS = LONG
  ? ["-n", "100", "-c", "4", "--min-size", String(2 ** 30), ...SEED]
  : ["-n", "4", "-c", "4", "--min-size", "6000000", ...SEED];

/** What a program does beside reading, writing and waiting, each by itself below. */
const APART = "zerocopy,lowat,late";
const OPTIONS = `${APART},turns,half-close,signals,edge`;

// A second try is told at the end of the run: what an oracle sees once is true, and has to be looked into.
const once = { timeout: patienceMs(LONG ? 86_400_000 : 120_000) };

describe("over plain TCP", once, () => {
  it.for([
    ["programs of all kinds", "shunt-oracle", [...SHORT]],
    ["programs that splice", "shunt-oracle-splice", [...SPLICED]],
    ["programs that send urgent data", "shunt-oracle", [...FEW, "--only", "oob,turns,slow"]],
    ["long streams", "shunt-oracle", STREAMS],
  ] as const)("%s get every byte", async ([, program, flags]) => {
    await using server = await OracleServer.start("127.0.0.1", { program });
    const run = await runOracle(server, { program, flags });
    expect(problemsOf(run)).toEqual([]);
    expect([run.client.pastTcpSent, run.server.pastTcpSent]).toEqual([0, 0]);
    expect(run.server.urgent).toBe(run.client.urgent);
  });
});

describe.each(LONG ? TOPOLOGIES : TOPOLOGIES.slice(0, 1))("over %s", once, (topology) => {
  describe.each(TRIED)("with both proxies in mode %s", (acceleration) => {
    let rig: OracleRig;
    let missing: string | undefined;
    beforeAll(async () => {
      rig = await OracleRig.start(topology, acceleration);
      missing = await rig.missing();
    });
    afterAll(() => rig?.[Symbol.asyncDispose]());

    const connections = async (): Promise<number> => {
      const { workers, workloads } = await rig.agent.ask<{
        workers: { connections: number }[];
        workloads: { connections: { total: number } }[];
      }>("status");
      expect(workers.length).toBeGreaterThan(0);
      return workloads.reduce((sum, workload) => sum + workload.connections.total, 0);
    };

    it.for([
      ["programs that poll or block", "shunt-oracle", [...SHORT, "--without", APART]],
      ["programs that splice", "shunt-oracle-splice", [...SPLICED, "--without", APART]],
      ["programs that set options and change O_NONBLOCK afterwards", "shunt-oracle", [...FEW, "--only", OPTIONS]],
      ["long streams", "shunt-oracle", [...STREAMS, "--without", APART]],
    ] as const)("%s get every byte", async ([, program, flags], { skip }) => {
      skip(missing !== undefined, missing);
      const before = await connections();
      const run = await rig.run(flags, program);
      expect(problemsOf(run)).toEqual([]);
      // Both proxies had each of them.
      expect(await connections()).toBeGreaterThanOrEqual(before + 2 * (run.client.transfers - run.client.resets));
    });

    it("programs that send urgent data to a port that is left out get none of it in the stream", async ({ skip }) => {
      skip(missing !== undefined, missing);
      const run = await rig.run([...FEW, "--only", "oob,turns,slow"]);
      expect(problemsOf(run)).toEqual([]);
      expect([run.client.pastTcpSent, run.server.pastTcpSent]).toEqual([0, 0]);
    });

    it("bytes of programs that poll go past TCP, those of programs that block never do", async ({ skip }) => {
      skip(missing !== undefined, missing);
      const flags = ["-n", "24", "-c", "8", ...SEED, "--min-size", "200000", "--only", "turns,edge"];
      const polling = await rig.run([...flags, "--client", "polling", "--server", "polling"]);
      expect(problemsOf(polling)).toEqual([]);
      const past = polling.client.pastTcpReceived + polling.server.pastTcpReceived;
      if (acceleration === "auto") expect(past).toBeGreaterThan(10_000);
      else expect(past).toBe(0);
      const blocking = await rig.run([...flags, "--client", "blocking", "--server", "blocking"]);
      expect(problemsOf(blocking)).toEqual([]);
      expect(blocking.client.pastTcpReceived + blocking.server.pastTcpReceived).toBe(0);
    });
  });
});
