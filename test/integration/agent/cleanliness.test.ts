// SPDX-License-Identifier: Apache-2.0
/** What an agent adds to the machine, it takes away again: at its end, and when it never came to a start. */
import { closeSync, openSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { eventually } from "../../support/inbox.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { echoServer, load } from "../../support/load.ts";
import { inSomeModes } from "../../support/modes.ts";
import { namespaceState, tracesOf } from "../../support/namespace-state.ts";
import { NetLab } from "../../support/net-lab.ts";
import { ShuntAgent } from "../../support/shunt.ts";
import { TcpPeer } from "../../support/tcp-peer.ts";

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

inSomeModes(["ebpf", "tproxy"], "an agent", (mode) => {
  const fileFor = (lab: NetLab, changes: Record<string, unknown> = {}) => ({
    mode,
    workloads: [
      { name: "client", netns: lab.client.path, outbound: { dns: { capture: "all" } } },
      { name: "server", netns: lab.server.path, ...changes },
    ],
  });

  it("takes the routing and the setting of preserveSource away", async () => {
    using lab = new NetLab();
    const before = await namespaceState(lab);
    await using agent = await ShuntAgent.start(fileFor(lab, { inbound: { preserveSource: true } }));
    const during = await namespaceState(lab);
    expect(during[`${lab.server.netns}: ip -4 rule`]).toContain("fwmark 0x1539");
    expect(during[`${lab.server.netns}: ip -6 rule`]).toContain("fwmark 0x1539");
    expect(during[`${lab.server.netns}: cat /proc/sys/net/ipv4/tcp_fwmark_accept`]).toBe("1");
    await agent.stop();
    expect(await namespaceState(lab)).toEqual(before);
    expect(tracesOf(agent.name)).toEqual([]);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("takes everything away on %s, with connections open", async (signal) => {
    using lab = new NetLab();
    await using processes = new LabProcesses();
    await processes.start(echoServer(lab.server.v4, 7000), lab.server.path);
    const before = await namespaceState(lab);
    await using agent = await ShuntAgent.start(fileFor(lab));
    expect(await namespaceState(lab)).not.toEqual(before);
    expect(tracesOf(agent.name)).not.toEqual([]);
    expect(await load(lab.client, lab.server.v4, 7000, "connect", "-c", "10", "-n", "100", "-s", "10")).toMatchObject({
      errors: 0,
    });
    const netnsFd = openSync(lab.client.path, "r");
    const open = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const peer = await TcpPeer.connect({ address: lab.server.v4, port: 7000, netnsFd });
        await peer.write("x").bytes(1);
        return peer;
      }),
    );
    closeSync(netnsFd);
    await agent.stop(signal);
    expect(await namespaceState(lab)).toEqual(before);
    expect(tracesOf(agent.name)).toEqual([]);
    // Its connections have ended with it, and each has its record.
    for (const peer of open) expect(await peer.fate).toBe("ECONNRESET");
    expect(agent.records()).toHaveLength(2 * 120);
  });

  it("has no more files open after many connections and changes than before", async () => {
    using lab = new NetLab();
    await using processes = new LabProcesses();
    await processes.start(echoServer(lab.server.v4, 7000), lab.server.path);
    const file = fileFor(lab);
    await using agent = await ShuntAgent.start(file);
    const round = async (): Promise<number> => {
      const connections = ["connect", "-c", "20", "-n", "200", "-s", "10"];
      expect(await load(lab.client, lab.server.v4, 7000, ...connections)).toMatchObject({ errors: 0 });
      for (const workloads of [file.workloads.slice(0, 1), [], file.workloads]) {
        expect(await agent.reconfigure({ ...file, workloads })).toMatchObject({ msg: "configuration applied" });
      }
      return openFiles(agent.pid);
    };
    const warm = await round();
    for (let n = 0; n < 3; n++) await round();
    expect(await eventually(() => openFiles(agent.pid) <= warm && openFiles(agent.pid))).toBeLessThanOrEqual(warm);
    await agent.stop();
    expect(tracesOf(agent.name)).toEqual([]);
  });

  it("leaves nothing when a port is taken, and names address and port", async () => {
    using lab = new NetLab();
    await using processes = new LabProcesses();
    await processes.start(tellServer("python", "127.0.0.1", [15006]), lab.server.path);
    const before = await namespaceState(lab);
    const failure = await ShuntAgent.start(fileFor(lab)).then(
      async (agent) => {
        await agent[Symbol.asyncDispose]();
        return "it started";
      },
      (error: Error) => error.message,
    );
    expect(failure).toMatch(/127\.0\.0\.1 port 15006/);
    expect(failure).toMatch(/EADDRINUSE|in use/);
    // The first workload had been in force.
    expect(failure).toContain('"workload":"client"');
    expect(await namespaceState(lab)).toEqual(before);
    expect(tracesOf(`shunt-test-${process.pid}-agent`)).toEqual([]);
  });

  it("leaves nothing when one workload cannot be had", async () => {
    using lab = new NetLab();
    const before = await namespaceState(lab);
    const failure = await ShuntAgent.start(fileFor(lab, { netns: `${lab.server.path}-gone` })).then(
      async (agent) => {
        await agent[Symbol.asyncDispose]();
        return "it started";
      },
      (error: Error) => error.message,
    );
    expect(failure).toContain(`${lab.server.path}-gone`);
    expect(await namespaceState(lab)).toEqual(before);
    expect(tracesOf(`shunt-test-${process.pid}-agent`)).toEqual([]);
  });
});
