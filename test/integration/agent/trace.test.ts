// SPDX-License-Identifier: Apache-2.0
/** `trace: true`: the verdicts of one workload, in the log of the agent. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ask, tellServer } from "../../support/lab-process.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import type { LogLine } from "../../support/shunt.ts";

describe("tracing in mode ebpf", () => {
  let pair: PodPair;

  beforeAll(async () => {
    pair = await PodPair.start({
      mode: "ebpf",
      client: { trace: true, outbound: { excludePorts: [81] } },
      server: { inbound: { excludePorts: [81] } },
    });
    await pair.processes.start(tellServer("python", "::", [80, 81]), pair.lab.server.path);
    await pair.processes.start(tellServer("python", "::", [80, 81]), pair.lab.client.path);
  });

  afterAll(() => pair[Symbol.asyncDispose]());

  const verdicts = (): LogLine[] => pair.agent.logged.filter(({ msg }) => msg === "verdict");
  const verdictOn = (destination: string, from: number): Promise<LogLine> =>
    pair.agent.waitForLog((line) => line.msg === "verdict" && line["destination"] === destination, from);

  it.each(["v4", "v6"] as const)("logs what happened to each outbound connection over %s, and why", async (family) => {
    const { client, server } = pair.lab;
    for (const [port, verdict, reason] of [
      [80, "redirect", "all-included"],
      [81, "pass", "port-excluded"],
    ] as const) {
      const from = pair.agent.logged.length;
      await ask("curl", client.path, server[family], port);
      const line = await verdictOn(endpoint(server[family], port), from);
      expect(line).toMatchObject({ level: "info", workload: "client", direction: "outbound", verdict, reason });
      expect(line["pid"]).toBeGreaterThan(0);
    }
  });

  it.each(["v4", "v6"] as const)(
    "logs what happened to each inbound connection over %s, and from whom",
    async (family) => {
      const { client, server } = pair.lab;
      const from = pair.agent.logged.length;
      await ask("curl", server.path, client[family], 80);
      const line = await verdictOn(endpoint(client[family], 80), from);
      expect(line).toMatchObject({
        workload: "client",
        direction: "inbound",
        verdict: "redirect",
        reason: "all-included",
      });
      expect(String(line["source"]).startsWith(endpoint(server[family], 0).slice(0, -1))).toBe(true);
    },
  );

  it("logs nothing of a workload that is not traced, until a reload turns it on, and nothing after it is off", async () => {
    const { client, server } = pair.lab;
    // Both ends of these connections are captured, and one workload alone is traced.
    await ask("curl", client.path, server.v4, 80);
    expect(new Set(verdicts().map((line) => line["workload"]))).toEqual(new Set(["client"]));
    await pair.agent.reconfigure(pair.agentFile({ client: { trace: false }, server: { trace: true } }));
    const from = pair.agent.logged.length;
    await ask("curl", client.path, server.v4, 80);
    expect(await verdictOn(endpoint(server.v4, 80), from)).toMatchObject({ workload: "server", direction: "inbound" });
    // Events come in order: had the client's outbound verdict been sent, it would be before the server's.
    const since = pair.agent.logged.slice(from).filter(({ msg }) => msg === "verdict");
    expect(new Set(since.map((line) => line["workload"]))).toEqual(new Set(["server"]));
  });
});
