// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from "vitest";
import { Agent } from "../../../src/agent/agent.ts";
import { agentStatus } from "../../../src/agent/agent-status.ts";
import { statusSchema } from "../../../src/config/formats/status.ts";
import type { AgentConfig } from "../../../src/config/model.ts";
import { parseAgentConfig, valueOf } from "../../../src/config/parse.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import type { ConnectionRecord } from "../../../src/proxy/connection-record.ts";
import { silentLogger } from "../../../src/util/log.ts";
import { eventually, Inbox } from "../../support/inbox.ts";
import { LabProcesses, tool } from "../../support/lab-process.ts";
import { type LabNode, NetLab } from "../../support/net-lab.ts";
import { runCommand, uniqueName } from "../../support/shunt.ts";
import { TcpPeer } from "../../support/tcp-peer.ts";

const PORT = 8080;
const CONNECTIONS = 32;
const BYTES = 16 << 20;

interface Rig {
  readonly agent: Agent;
  readonly config: AgentConfig;
  readonly records: Inbox<ConnectionRecord>;
  readonly events: Inbox<{ readonly msg: string; readonly [field: string]: unknown }>;
  /** Where connections come from and where they go. */
  readonly from: LabNode;
  readonly to: LabNode;
}

/** The agent in this process, because nothing outside can make a worker of the program die. */
async function withAgent(direction: "outbound" | "inbound", use: (rig: Rig) => Promise<void>): Promise<void> {
  using lab = new NetLab();
  await using processes = new LabProcesses();
  const [from, to] = [lab.client, lab.server];
  const workload = { name: "pod", netns: (direction === "outbound" ? from : to).path };
  const text = JSON.stringify({ name: uniqueName(), mode: "ebpf", workers: 2, workloads: [workload] });
  const config = valueOf(parseAgentConfig(text, "test"));
  const records = new Inbox<ConnectionRecord>();
  const events: Rig["events"] = new Inbox();
  const note = (fields: object, msg: string): void => events.push({ ...fields, msg });
  await processes.start([tool("shunt-echo"), to.v4, String(PORT), "--until-stdin-closes"], to.path);
  await using agent = await Agent.start({
    name: config.name,
    workers: config.workers,
    timeouts: config.proxy,
    log: { ...silentLogger, info: note, error: note },
    onRecord: records.push,
  });
  for (const one of config.workloads) await agent.add(one);
  await use({ agent, config, records, events, from, to });
}

interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  readonly mismatches: number;
}

/** Sends checkable streams through the echo server and back. */
async function verify({ from, to }: Rig, connections: number, bytes: number): Promise<LoadResult> {
  const load = [tool("shunt-load"), to.v4, String(PORT), "verify", "-c", String(connections), "-s", String(bytes)];
  return JSON.parse((await runCommand(load, { netns: from.path })).stdout) as LoadResult;
}

describe.each(["outbound", "inbound"] as const)("a worker that dies under load, %s,", (direction) => {
  it.each([
    { death: "terminate()", kill: (agent: Agent) => agent.pool.terminateWorker(0), reason: "exit code 1" },
    {
      death: "an uncaught exception",
      kill: (agent: Agent) => agent.pool.crashWorker(0),
      reason: "uncaught: crash asked for",
    },
  ])("by $death takes its own connections along and no others, and is replaced", async ({ kill, reason }) => {
    await withAgent(direction, async (rig) => {
      const { agent, config, records, events, from, to } = rig;
      const loaded = verify(rig, CONNECTIONS, BYTES);
      const sharing = await eventually(() => {
        const shares = agent.pool.workers().map(({ connections }) => connections);
        return shares[0] !== undefined && shares.reduce((sum, share) => sum + share) === CONNECTIONS && shares;
      });
      expect(Math.min(...sharing)).toBeGreaterThan(0);
      await kill(agent);
      const { requests, errors, mismatches } = await loaded;

      const exited = await events.until((all) => all.find(({ msg }) => msg === "worker exited"));
      expect(exited).toMatchObject({ index: 0, reason, lostConnections: sharing[0] });
      await records.until((all) => all.length >= CONNECTIONS);
      const lost = records.all.filter(({ outcome }) => outcome === "worker-lost");
      const closed = records.all.filter(({ outcome }) => outcome === "closed");
      // Every connection has exactly one record, and those of the other worker were carried whole.
      expect(new Set(records.all.map(({ id }) => id)).size).toBe(CONNECTIONS);
      expect([lost.length, closed.length]).toEqual([sharing[0], sharing[1]]);
      expect([errors, requests, mismatches]).toEqual([lost.length, closed.length, 0]);
      for (const record of closed) expect(record).toMatchObject({ bytesSent: BYTES, bytesReceived: BYTES });
      for (const record of lost) {
        expect(record.detail).toContain(reason);
        expect(record).toMatchObject({ direction, workload: "pod", originalDestination: `${to.v4}:${PORT}` });
      }

      await events.until((all) => all.some(({ msg }) => msg === "worker replaced"));
      const status = await agentStatus(agent, config, { ready: true, reason: "" }, new Map());
      expect(statusSchema.parse(status).workers).toMatchObject([
        { id: 0, state: "running", restarts: 1 },
        { id: 1, state: "running", restarts: 0 },
      ]);
      // The replacement takes its share of new connections.
      using netns = new NetworkNamespace(from.path);
      const peers = await Promise.all(
        Array.from({ length: CONNECTIONS }, () => TcpPeer.connect({ address: to.v4, port: PORT, netnsFd: netns.fd })),
      );
      await eventually(() => agent.pool.connections().length === CONNECTIONS);
      expect(Math.min(...agent.pool.workers().map(({ connections }) => connections))).toBeGreaterThan(0);
      for (const peer of peers) peer.reset();
      expect(await verify(rig, 8, 1 << 16)).toMatchObject({ requests: 8, errors: 0, mismatches: 0 });
    });
  });
});
