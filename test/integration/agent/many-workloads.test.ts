// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { NetworkNamespace } from "../../../src/intercept/network-namespace.ts";
import { runCommand, ShuntAgent, uniqueName } from "../../support/shunt.ts";
import { TcpPeer, TcpServer } from "../../support/tcp-peer.ts";

const COUNT = 200;
const PORT = 8080;
/** Sockets, map, program, link and namespace of one workload, and what its sockets are in two workers. */
const FDS_PER_WORKLOAD = 20;

/** Namespaces with lo up and an address of their own on it; made in one go, because a process for each takes long. */
class Namespaces implements AsyncDisposable {
  readonly names: readonly string[];

  private constructor(names: readonly string[]) {
    this.names = names;
  }

  static async make(count: number): Promise<Namespaces> {
    const id = uniqueName("many");
    const made = new Namespaces(Array.from({ length: count }, (_, index) => `${id}-${index}`));
    try {
      await ipBatch(made.names.map((name) => `netns add ${name}`));
      for (const name of made.names) await ipBatch(["link set lo up", "addr add 10.98.0.1/32 dev lo"], name);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await ipBatch(this.names.map((name) => `netns del ${name}`)).catch(() => undefined);
  }
}

async function ipBatch(lines: readonly string[], netns?: string): Promise<void> {
  const argv = ["ip", ...(netns === undefined ? [] : ["-n", netns]), "-force", "-batch", "-"];
  const { status, stderr } = await runCommand(argv, { stdin: `${lines.join("\n")}\n` });
  if (status !== 0) throw new Error(stderr);
}

function pathOf(name: string): string {
  return `/run/netns/${name}`;
}

function fdsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

it(`one agent has ${COUNT} workloads, and gives everything back`, { timeout: 300_000 }, async () => {
  await using namespaces = await Namespaces.make(COUNT);
  // captureLocal, so that a connection needs no second namespace.
  const workloads = namespaces.names.map((netns, index) => ({
    name: `w${index}`,
    netns,
    outbound: { captureLocal: true },
  }));
  await using few = await ShuntAgent.start({ mode: "ebpf", workloads: workloads.slice(0, 1) });
  const [fdsOfOne, memoryOfOne] = [fdsOf(few.pid), residentMiB(few.pid)];
  await few.stop();

  const startedAt = performance.now();
  await using agent = await ShuntAgent.start({ mode: "ebpf", logLevel: "info", workloads });
  const seconds = (performance.now() - startedAt) / 1000;
  const [fds, memory] = [fdsOf(agent.pid), residentMiB(agent.pid)];
  const perWorkload = (fds - fdsOfOne) / (COUNT - 1);
  const figures = [
    `${COUNT} workloads: ready after ${seconds.toFixed(1)} s`,
    `${fds} descriptors (${perWorkload.toFixed(1)} a workload)`,
    `${memory.toFixed(0)} MiB resident (${((memory - memoryOfOne) / (COUNT - 1)).toFixed(2)} MiB a workload)`,
  ];
  process.stderr.write(`${figures.join(", ")}\n`);
  expect(perWorkload).toBeLessThanOrEqual(FDS_PER_WORKLOAD);

  const some = [0, COUNT / 2, COUNT - 1];
  for (const index of some) {
    using netns = new NetworkNamespace(pathOf(namespaces.names[index] ?? ""));
    await using server = new TcpServer({ address: "10.98.0.1", port: PORT, netnsFd: netns.fd }).echo();
    const peer = await TcpPeer.connect({ address: server.address, port: PORT, netnsFd: netns.fd });
    await peer.write("hello").bytes(5);
    peer.end();
    await agent.waitForRecords(({ workload }) => workload === `w${index}`);
  }
  expect(agent.records()).toMatchObject(
    some.map((index) => ({
      workload: `w${index}`,
      direction: "outbound",
      originalDestination: `10.98.0.1:${PORT}`,
      bytesSent: 5,
      outcome: "closed",
    })),
  );
  const status = await agent.ask<StatusReport>("status");
  expect(status.workloads.length).toBe(COUNT);
  expect(status.hostAdditions.length).toBe(COUNT);

  const stoppingAt = performance.now();
  await agent.stop();
  process.stderr.write(`${COUNT} workloads: gone after ${((performance.now() - stoppingAt) / 1000).toFixed(1)} s\n`);
  using bpffs = Bpffs.open();
  expect(existsSync(join(bpffs.path, "shunt", agent.name))).toBe(false);
  for (const name of namespaces.names) {
    using netns = new NetworkNamespace(pathOf(name));
    expect(netns.addresses().sort()).toEqual(["10.98.0.1", "127.0.0.1", "::1"]);
  }
});
