// SPDX-License-Identifier: Apache-2.0
/** Unmodified programs in two intercepted namespaces talk to each other: what they see, and what is recorded. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findCommand } from "../../../scripts/setup/machine.mjs";
import { ask, tellServer } from "../../support/lab-process.ts";
import { inEveryMode, interceptionOf } from "../../support/modes.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import { runCommand } from "../../support/shunt.ts";

const SERVERS = [
  { server: "python", port: 80 },
  { server: "node", port: 81 },
] as const;
const FAMILIES = ["v4", "v6", "v4-mapped"] as const;

async function startServers(pair: PodPair): Promise<void> {
  for (const { path } of [pair.lab.client, pair.lab.server]) {
    for (const { server, port } of SERVERS) await pair.processes.start(tellServer(server, "::", [port]), path);
  }
}

inEveryMode("traffic of two namespaces", (mode) => {
  let pair: PodPair;

  beforeAll(async () => {
    pair = await PodPair.start({ mode, client: {}, server: {} });
    await startServers(pair);
  });

  afterAll(() => pair[Symbol.asyncDispose]());

  describe.each(["curl", "python", "node"] as const)("with %s as the client", (client) => {
    it.each(FAMILIES)("keeps the illusion and records every connection twice over %s", async (family) => {
      const { lab, agent } = pair;
      for (const [near, far, names] of [
        [lab.client, lab.server, { near: "client", far: "server" }],
        [lab.server, lab.client, { near: "server", far: "client" }],
      ] as const) {
        const destination = family === "v6" ? far.v6 : far.v4;
        const dialled = family === "v4-mapped" ? `::ffff:${far.v4}` : destination;
        const seen = agent.records().length;
        for (const { server, port } of SERVERS) {
          expect(await ask(client, near.path, dialled, port)).toEqual({
            server,
            // The servers' sockets are dual-stack, and show IPv4 as they do.
            client: family === "v6" ? "::6" : "::ffff:127.0.0.6",
            clientPort: expect.any(Number),
            local: [family === "v6" ? far.v6 : `::ffff:${far.v4}`, port],
            peer: [dialled, port],
          });
        }
        await agent.waitForRecords((record) => record.outcome === "closed", seen + 2 * SERVERS.length);
        const recorded = agent.records().slice(seen);
        expect(recorded).toHaveLength(2 * SERVERS.length);
        for (const { port } of SERVERS) {
          const meant = { originalDestination: endpoint(destination, port), upstream: endpoint(destination, port) };
          const [outbound, inbound] = ["outbound", "inbound"].map((direction) =>
            recorded.find((r) => r.direction === direction && r.originalDestination === meant.originalDestination),
          );
          expect(outbound).toMatchObject({
            ...meant,
            workload: names.near,
            interception: interceptionOf(mode, "outbound"),
          });
          expect(inbound).toMatchObject({
            ...meant,
            workload: names.far,
            interception: interceptionOf(mode, "inbound"),
          });
          expect(inbound?.source.startsWith(family === "v6" ? `[${near.v6}]:` : `${near.v4}:`)).toBe(true);
          expect(outbound?.bytesReceived).toBeGreaterThan(0);
          expect(outbound?.bytesSent).toBe(inbound?.bytesSent);
          expect(outbound?.bytesReceived).toBe(inbound?.bytesReceived);
        }
      }
    });
  });

  it.for([
    ["iptables-save", []],
    ["ip6tables-save", []],
    ["nft", ["list", "ruleset"]],
  ] as const)("%s shows rules in the namespaces exactly when the mode has some", async ([program, flags], context) => {
    if (findCommand(program) === undefined) return context.skip(`needs ${program}`);
    for (const { path } of [pair.lab.client, pair.lab.server]) {
      const { status, stdout, stderr } = await runCommand([program, ...flags], { netns: path });
      expect(status, stderr).toBe(0);
      if (mode === "ebpf" || (mode === "nftables" && program !== "nft"))
        expect(stdout.split("\n").filter((line) => /^-A|^\s*(chain|table|ip)/.test(line))).toEqual([]);
      else expect(stdout.toLowerCase()).toMatch(/redirect/);
    }
  });
});

inEveryMode("preserveSource", (mode) => {
  it("shows the application the client's own address in both families, and the record has it too", async () => {
    await using pair = await PodPair.start({ mode, client: {}, server: { inbound: { preserveSource: true } } });
    await startServers(pair);
    const { client, server } = pair.lab;
    for (const { port } of SERVERS) {
      expect(await ask("python", client.path, server.v4, port)).toMatchObject({
        client: `::ffff:${client.v4}`,
        peer: [server.v4, port],
      });
      expect(await ask("curl", client.path, server.v6, port)).toMatchObject({
        client: client.v6,
        peer: [server.v6, port],
      });
    }
    const inbound = await pair.agent.waitForRecords((r) => r.direction === "inbound", 4);
    expect(inbound).toHaveLength(4);
    for (const record of inbound) {
      expect([client.v4, `[${client.v6}]`]).toContain(record.source.slice(0, record.source.lastIndexOf(":")));
      expect(record).toMatchObject({ workload: "server", outcome: "closed" });
    }
    await pair.agent.stop();
  });

  it("still lets the workload talk to itself by its own address", async () => {
    await using pair = await PodPair.start({ mode, server: { inbound: { preserveSource: true } } });
    await startServers(pair);
    const { server } = pair.lab;
    for (const address of [server.v4, server.v6]) {
      expect(await ask("python", server.path, address, 80)).toMatchObject({ server: "python", peer: [address, 80] });
    }
    await pair.agent.stop();
    expect(pair.agent.records()).toEqual([]);
  });
});
