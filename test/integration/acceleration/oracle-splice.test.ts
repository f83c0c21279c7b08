// SPDX-License-Identifier: Apache-2.0
/**
 * The oracle over the path `splice`: programs that block, at one end or at both, talking long enough for their
 * connections to be spliced. Their sockets are in no map, so they may do whatever they like.
 *
 * SHUNT_ORACLE=long makes more of them; SHUNT_ORACLE_SEED other ones.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { patienceMs } from "../../support/inbox.ts";
import { problemsOf } from "../../support/oracle.ts";
import { OracleRig, TOPOLOGIES } from "../../support/oracle-rig.ts";

const LONG = process.env["SHUNT_ORACLE"] === "long";
const SEED = ["--seed", process.env["SHUNT_ORACLE_SEED"] ?? "1"];
const many = (short: number, long: number): string[] => ["-n", String(LONG ? long : short), "-c", "48", ...SEED];
const TALKS = [...many(300, 50_000), "--only", "turns,half-close,close,reset,slow,peek,fionread,waitall,lowat,signals"];
const STREAMS = [...many(40, 5_000), "--min-size", "100000", "--size", "1000000", "--without", "buffers"];

const once = { timeout: patienceMs(LONG ? 86_400_000 : 120_000) };

describe.each(LONG ? TOPOLOGIES : TOPOLOGIES.slice(0, 1))("over %s", once, (topology) => {
  let rig: OracleRig;
  let missing: string | undefined;
  beforeAll(async () => {
    rig = await OracleRig.start(topology, "auto", { paths: ["splice"] });
    missing = await rig.missing();
  });
  afterAll(() => rig?.[Symbol.asyncDispose]());

  it.for([
    ["blocking", "blocking"],
    ["blocking", "polling"],
    ["polling", "blocking"],
  ] as const)("a %s client and a %s server get every byte, and are spliced", async ([client, server], { skip }) => {
    skip(missing !== undefined, missing);
    const from = rig.agent.records().length;
    for (const flags of [TALKS, STREAMS]) {
      const run = await rig.run([...flags, "--client", client, "--server", server]);
      expect(problemsOf(run)).toEqual([]);
      expect(run.client.pastTcpReceived + run.server.pastTcpReceived).toBe(0);
    }
    const ways = rig.agent
      .records()
      .slice(from)
      .map(({ acceleration }) => acceleration);
    expect(ways.filter((way) => way?.sent === "splice" && way.received === "splice").length).toBeGreaterThan(10);
  });
});
