// SPDX-License-Identifier: Apache-2.0
/** A workload goes over to another interception, another name or another proxy, with its connections. */
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { EXTERNAL, ExternalProxy } from "../../support/external-proxy.ts";
import { ask, tellServer } from "../../support/lab-process.ts";
import { BOTH, DIRECT, LiveLab, OFF, PROXIED, TELL } from "../../support/live-lab.ts";
import { echoServer } from "../../support/load.ts";
import { inSomeModes } from "../../support/modes.ts";
import { PodPair } from "../../support/pod-pair.ts";
import { fateOf, Prober } from "../../support/prober.ts";
import { Pulse } from "../../support/pulse.ts";
import { TakenLookups } from "../../support/taken-lookups.ts";

const APPLIED = { msg: "configuration applied" };

describe("a direction that eBPF cannot have", () => {
  it("comes on by rules in mode auto, under connections that go on", async () => {
    await using live = await LiveLab.start("auto", { inbound: OFF }, { out: PROXIED, in: DIRECT });
    await live.hold("outbound alone");
    {
      using _taken = new TakenLookups(live.lab.client.path);
      expect(await live.change({}, BOTH)).toEqual([]);
      const status = await live.agent.ask<StatusReport>("status");
      expect(status.workloads[0]).toMatchObject({ mode: "mixed", outbound: "ebpf", inbound: "iptables" });
      await live.hold("both");
      expect(await live.change({ inbound: OFF }, { out: PROXIED, in: DIRECT })).toEqual([]);
      expect(await live.change({ outbound: OFF }, { out: DIRECT, in: PROXIED })).toEqual([]);
    }
    for (const pulse of live.pulses.splice(0)) await pulse.end();
    await live.agent.stop();
    expect(await live.inside("iptables-save")).not.toContain("SHUNT");
  });
});

inSomeModes(["ebpf", "nftables"], "workloads that exchange their names", (mode) => {
  it("go on without a gap, and new connections are told by the new names", async () => {
    await using pair = await PodPair.start({ mode, client: {}, server: {} });
    const { client, server } = pair.lab;
    const fd = openSync(client.path, "r");
    try {
      await pair.processes.start(echoServer(server.v4, 7000), server.path);
      await pair.processes.start(tellServer("node", "::", [TELL]), server.path);
      const pulse = await Pulse.start("held", server.v4, 7000, fd);
      await using prober = await Prober.start(client.path, TELL, [server.v4], { ownPorts: true });
      const exchanged = (first: string, second: string): Promise<unknown> =>
        pair.agent.reconfigure({
          ...pair.agentFile(),
          workloads: [
            { name: first, netns: client.path },
            { name: second, netns: server.path },
          ],
        });
      for (const [first, second] of [
        ["server", "client"],
        ["server", "third"],
        ["third", "server"],
      ] as const) {
        expect(await exchanged(first, second)).toMatchObject({ msg: "configuration applied" });
        const from = Date.now();
        await prober.until(() => true, from, [server.v4], 5);
        const told = await pair.agent.waitForRecords((record) => Date.parse(record.time) >= from, 4);
        expect([...new Set(told.map(({ workload, direction }) => `${workload} ${direction}`))].toSorted()).toEqual(
          [`${first} outbound`, `${second} inbound`].toSorted(),
        );
        await pulse.goesOn();
      }
      expect([...new Set(prober.probes().map(fateOf))]).toEqual(["proxied"]);
      await pulse.end();
      await pair.agent.stop();
    } finally {
      closeSync(fd);
    }
  });
});

describe("a workload that is given to another proxy, and taken back", () => {
  it("keeps the connections it has, and no new one is refused", async () => {
    await using pair = await PodPair.start({ mode: "ebpf", server: { outbound: OFF } });
    const { client, server } = pair.lab;
    const fd = openSync(client.path, "r");
    try {
      await pair.processes.start(echoServer(server.v4, 7000), server.path);
      await pair.processes.start(tellServer("node", "::", [TELL]), server.path);
      await using other = await ExternalProxy.start({
        peer: { ok: true, command: "python3", env: {}, version: "" },
        netns: server.path,
        config: "",
        args: () => [join(import.meta.dirname, "../../support/programs/inbound_listener.py"), "15106", "2"],
        ports: [15106],
      });
      const pulse = await Pulse.start("held", server.v4, 7000, fd);
      const asked = async (): Promise<unknown> => (await ask("python", client.path, server.v4, TELL)).server;
      const external = { outbound: OFF, inbound: { port: 15106 }, proxy: EXTERNAL };
      for (const _ of [1, 2]) {
        expect(await asked()).toBe("node");
        expect(await pair.agent.reconfigure(pair.agentFile({ server: external }))).toMatchObject(APPLIED);
        expect(Number(await asked())).toBe(other.process.child.pid);
        await pulse.goesOn();
        expect(await pair.agent.reconfigure(pair.agentFile())).toMatchObject(APPLIED);
        await pulse.goesOn();
      }
      expect(await asked()).toBe("node");
      await pulse.end();
      await pair.agent.stop();
    } finally {
      closeSync(fd);
    }
  });
});
