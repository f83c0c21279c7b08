// SPDX-License-Identifier: Apache-2.0
/** The configuration changes while connections come and go. */
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ask, tellServer } from "../../support/lab-process.ts";
import { echoServer, load } from "../../support/load.ts";
import { inSomeModes } from "../../support/modes.ts";
import { endpoint, PodPair } from "../../support/pod-pair.ts";
import { shunt } from "../../support/shunt.ts";
import { steering } from "../../support/steered.ts";
import { TcpPeer } from "../../support/tcp-peer.ts";

const ECHO = 7000;
const TELL = 80;
const APPLIED = { msg: "configuration applied" };

interface Status {
  readonly agent: { readonly ready: boolean };
  readonly workloads: readonly { readonly name: string; readonly problem?: string }[];
}

inSomeModes(["ebpf", "nftables"], "a change of configuration", (mode) => {
  let pair: PodPair;
  let clientFd: number;

  beforeEach(async () => {
    pair = await PodPair.start({ mode, client: {}, server: { inbound: { enabled: false } } });
    const { server, client } = pair.lab;
    clientFd = openSync(client.path, "r");
    await pair.processes.start(echoServer(server.v4, ECHO), server.path);
    await pair.processes.start(tellServer("node", "::", [TELL]), server.path);
  });

  afterEach(async () => {
    closeSync(clientFd);
    await pair[Symbol.asyncDispose]();
  });

  const steered = async (): Promise<boolean> => (await steering(clientFd, pair.lab.server.v4, TELL)).steered;
  const ports = (...excludePorts: number[]) => pair.agentFile({ client: { outbound: { excludePorts } } });

  it("holds for new connections, leaves established ones alone and fails no request", async () => {
    const { agent, lab } = pair;
    const address = lab.server.v4;
    const held = await TcpPeer.connect({ address, port: ECHO, netnsFd: clientFd });
    await held.write("before").bytes(6);

    const running = [
      load(lab.client, address, ECHO, "connect", "-c", "4", "-s", "100", "-d", "3"),
      load(lab.client, address, ECHO, "rr", "-c", "4", "-s", "1000", "-d", "3"),
    ];
    const state = { ended: false };
    const ended = Promise.all(running).finally(() => {
      state.ended = true;
    });
    expect(await steered()).toBe(true);
    let changes = 0;
    for (; !state.ended && changes < 10; changes += 2) {
      expect(await agent.reconfigure(ports(ECHO, TELL))).toMatchObject(APPLIED);
      expect(await steered()).toBe(false);
      expect(await agent.reconfigure(ports())).toMatchObject(APPLIED);
      expect(await steered()).toBe(true);
    }
    expect(changes).toBeGreaterThan(2);
    for (const report of await ended) {
      expect(report).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
      expect(report.requests).toBeGreaterThan(100);
    }

    expect(await agent.reconfigure(ports(ECHO))).toMatchObject(APPLIED);
    expect((await held.write(" after").bytes(12)).toString()).toBe("before after");
    held.end();
    expect(await held.fate).toBe("close");
    const [record] = await agent.waitForRecords((r) => r.bytesReceived === 12);
    expect(record).toMatchObject({ outcome: "closed", bytesSent: 12, originalDestination: endpoint(address, ECHO) });
    for (const { outcome } of agent.records()) expect(outcome).toBe("closed");
  });

  it("is read again on SIGHUP, also when nothing has changed", async () => {
    const { agent } = pair;
    for (const _ of [1, 2]) expect(await agent.hangUp()).toMatchObject({ ...APPLIED, why: "SIGHUP" });
    expect(await steered()).toBe(true);
    await agent.stop();
  });

  it("adds and removes workloads without a trace on those that stay", async () => {
    const { agent, lab } = pair;
    const both = pair.agentFile();
    const onlyServer = { ...both, workloads: (both["workloads"] as object[]).slice(1) };
    const held = await TcpPeer.connect({ address: lab.client.v4, port: ECHO, netnsFd: clientFd }).catch(
      () => undefined,
    );
    expect(held, "nobody listens there").toBeUndefined();
    const names = async (): Promise<string[]> => (await agent.ask<Status>("status")).workloads.map(({ name }) => name);

    expect(await agent.reconfigure(onlyServer)).toMatchObject(APPLIED);
    expect(await names()).toEqual(["server"]);
    expect(await steered()).toBe(false);
    // The one that stayed is intercepted as before.
    const seen = agent.records().length;
    await pair.processes.start(tellServer("node", "::", [TELL]), lab.client.path);
    expect(await ask("python", lab.server.path, lab.client.v4, TELL)).toMatchObject({ server: "node" });
    expect(
      (await agent.waitForRecords((r) => r.workload === "server" && r.direction === "outbound")).length,
    ).toBeGreaterThan(0);
    expect(agent.records().length).toBeGreaterThan(seen);

    expect(await agent.reconfigure(both)).toMatchObject(APPLIED);
    expect((await names()).sort()).toEqual(["client", "server"]);
    expect(await steered()).toBe(true);
    await agent.stop();
  });

  it("that is wrong leaves the one before in force and names file, line, field and value", async () => {
    const { agent } = pair;
    expect(await agent.reconfigure(ports(TELL))).toMatchObject(APPLIED);
    const wrong = [
      `name: ${agent.name}`,
      `mode: ${mode}`,
      "workloads:",
      "  - name: client",
      `    netns: ${pair.lab.client.path}`,
      "    outbound:",
      "      excludePorts: [80, 70000]",
      "",
    ].join("\n");
    const line = await agent.reconfigure(wrong);
    expect(line.msg).toBe("configuration not applied, the old one stays in force");
    const told = JSON.stringify(line);
    for (const part of [`${agent.configFile}:7`, "workloads[0].outbound.excludePorts[1]", "70000"])
      expect(told).toContain(part);
    expect(await steered(), "still excluded").toBe(false);
    expect(await agent.ask<Status>("status")).toMatchObject({ agent: { ready: true } });
    expect(await agent.reconfigure("workloads: [")).toMatchObject({ msg: line.msg });
    expect(await steered()).toBe(false);
    expect(await agent.reconfigure(ports())).toMatchObject(APPLIED);
    expect(await steered()).toBe(true);
    await agent.stop();
  });

  it("with one workload that cannot be had brings the others into force and reports that one", async () => {
    const { agent } = pair;
    const file = ports(TELL);
    const gone = { name: "gone", netns: `/run/netns/${agent.name}-gone` };
    await agent.reconfigure({ ...file, workloads: [gone, ...(file["workloads"] as object[])] });
    expect(await steered()).toBe(false);
    const failed = agent.logged.find(({ msg }) => msg === "workload not intercepted");
    expect(failed).toMatchObject({ workload: "gone" });
    expect(JSON.stringify(failed)).toContain(gone.netns);
    await agent.stop();
  });
});

describe("run --check", () => {
  it("tells what it would do, or what is wrong and where, and intercepts nothing", async () => {
    await using pair = await PodPair.start({ mode: "ebpf", server: {} });
    const file = join(pair.agent.folder, "checked.yaml");
    writeFileSync(file, `workloads:\n  - name: blue\n    netns: ${pair.lab.client.netns}\n`);
    const good = await shunt(["run", "--config", file, "--check"]);
    expect(good).toMatchObject({ status: 0, stderr: "" });
    expect(good.stdout).toContain("ok: agent default, mode auto, 1 workload");
    const full = await shunt(["run", "--config", file, "--check", "--json"]);
    expect(JSON.parse(full.stdout)).toMatchObject({
      workloads: [{ outbound: { port: 15001 }, inbound: { port: 15006 } }],
    });

    writeFileSync(file, `workloads:\n  - name: blue\n    netns: ${pair.lab.client.netns}\n    inbound: {port: http}\n`);
    const bad = await shunt(["run", "--config", file, "--check"]);
    expect(bad.status).toBe(1);
    expect(bad.stdout).toBe("");
    expect(bad.stderr).toContain(`${file}:4: workloads[0].inbound.port: "http" is not a port`);
  });
});
