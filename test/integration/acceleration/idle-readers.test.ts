// SPDX-License-Identifier: Apache-2.0
/** A thousand readers that do not read: what they hold is bounded, and those who send to them wait without an error. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ACCELERATIONS, type Acceleration } from "../../support/acceleration.ts";
import { patienceMs } from "../../support/inbox.ts";
import { OracleClient, problemsOf } from "../../support/oracle.ts";
import { OracleRig } from "../../support/oracle-rig.ts";
import { runCommand } from "../../support/shunt.ts";

const CONNECTIONS = 1000;
const BUDGET = 65_536;
/** Per connection, so that they do not fit into the buffers of the way. */
const BYTES = 600_000;
/** Small enough that the budget is a good part of what is held. */
const BUFFERS = ["net.ipv4.tcp_wmem=4096 16384 16384", "net.ipv4.tcp_rmem=4096 16384 16384"];
/** Bytes that the kernel's buffers of one connection take beside those that they hold. */
const OVERHEAD = 2.5;

interface Held {
  /** Bytes that the senders got rid of. */
  readonly sent: number;
  /** Bytes of all TCP buffers of the machine. */
  readonly buffers: number;
  /** Bytes of the agent's memory. */
  readonly agent: number;
  readonly past: number;
}

/** Of all namespaces. */
function tcpBuffers(): number {
  const [, pages = "0"] = /^TCP: .* mem (\d+)$/m.exec(readFileSync("/proc/net/sockstat", "utf8")) ?? [];
  return Number(pages) * 4096;
}

function resident(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

async function hold(acceleration: Acceleration): Promise<Held | string> {
  await using rig = await OracleRig.start("two namespaces", acceleration, { budget: BUDGET });
  const missing = await rig.missing();
  if (missing !== undefined) return missing;
  for (const netns of [rig.clientNetns, rig.serverNetns]) await runCommand(["sysctl", "-qw", ...BUFFERS], { netns });
  // A thousand take their time when all of them read at once.
  const stall = ["--stall", String(patienceMs(60_000) / 1000)];
  await using server = await rig.server({ flags: stall });
  const [buffersBefore, agentBefore] = [tcpBuffers(), resident(rig.agent.pid)];
  const ends = ["--client", "polling", "--server", "polling", "--only", "none"];
  const flags = [
    "-n",
    String(CONNECTIONS),
    "-c",
    String(CONNECTIONS),
    "--idle",
    "--min-size",
    String(BYTES),
    ...ends,
    ...stall,
  ];
  await using client = await OracleClient.start({
    netns: rig.clientNetns,
    address: server.address,
    port: server.port,
    flags,
  });
  const sent = await client.parked();
  const [buffers, agent] = [tcpBuffers() - buffersBefore, resident(rig.agent.pid) - agentBefore];
  client.signal("SIGUSR1");
  server.release();
  const run = { client: await client.report(), server: await server.report() };
  expect(problemsOf(run)).toEqual([]);
  expect(run.server).toMatchObject({ transfers: CONNECTIONS });
  return { sent, buffers, agent, past: run.server.pastTcpReceived };
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

describe(`${CONNECTIONS} idle readers`, { timeout: patienceMs(180_000) }, () => {
  it("hold no more than budget and buffers", async ({ skip }) => {
    const held = new Map<Acceleration, Held>();
    for (const acceleration of ACCELERATIONS) {
      const one = await hold(acceleration);
      if (typeof one === "string") return skip(one);
      held.set(acceleration, one);
      const numbers = `sent ${megabytes(one.sent)}, TCP buffers ${megabytes(one.buffers)}, agent ${megabytes(one.agent)}`;
      process.stdout.write(`${CONNECTIONS} idle readers, ${acceleration}: ${numbers}\n`);
      // The end was not reached: they did wait.
      expect(one.sent).toBeLessThan(0.9 * CONNECTIONS * BYTES);
    }
    const [copy, auto] = ACCELERATIONS.map((acceleration) => held.get(acceleration));
    if (!copy || !auto) throw new Error("one of them did not run");
    const budgets = CONNECTIONS * BUDGET;
    // One message may begin below the budget and end above it.
    const messages = CONNECTIONS * 131_072;
    expect(auto.sent).toBeLessThan(copy.sent * 1.25 + budgets + messages);
    expect(auto.buffers).toBeLessThan(copy.buffers * 1.25 + OVERHEAD * (budgets + messages));
    expect(auto.agent).toBeLessThan(copy.agent * 1.5 + 2 ** 26);
    expect(auto.past).toBeGreaterThan(budgets / 4);
  });
});
