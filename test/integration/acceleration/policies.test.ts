// SPDX-License-Identifier: Apache-2.0
/** What packets meet is not gone past: a policy of any kind keeps connections from going direct, unless the operator says so. */
import { closeSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ProbeReport } from "../../../src/config/formats/probe.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { patienceMs } from "../../support/inbox.ts";
import { LabProcess } from "../../support/lab-process.ts";
import { echoServer, load } from "../../support/load.ts";
import { PodPair } from "../../support/pod-pair.ts";
import { runCommand, shunt, uniqueName } from "../../support/shunt.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 9000;
const CGROUP_PORT = 9001;
const DEVICE = "eth0";
const HOLDER = join(import.meta.dirname, "../../support/programs/tcx-holder.mjs");
const direct = { sent: "direct", received: "direct", reason: "none" };
const byLegs = (reason: string) => ({ sent: "leg", received: "leg", reason });

// enum bpf_prog_type and bpf_attach_type of <linux/bpf.h>, and what lets a packet pass.
const XDP = { type: 6, expectedAttachType: 37, verdict: 2 };
const TCX = { type: 3, expectedAttachType: 46, verdict: 0 };
const CGROUP_EGRESS = { type: 8, expectedAttachType: 1, verdict: 1 };

/** A program that lets everything pass. */
function passingProgram({ type, expectedAttachType, verdict }: typeof XDP) {
  // r0 = verdict; exit
  const instructions = Uint8Array.from([0xb7, 0, 0, 0, verdict, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
  const loaded = loadAddon().loadProgram({ type, expectedAttachType, name: "pass", instructions, license: "GPL" });
  if (!loaded.program) throw new Error(loaded.log);
  return loaded.program;
}

/** The same, as a file. */
function pinned(kind: typeof XDP): string {
  const path = `/sys/fs/bpf/${uniqueName("pass")}`;
  const program = passingProgram(kind);
  check(program.pin(path), "bpf_obj_pin", path);
  program.close();
  return path;
}

let pair: PodPair;
let cgroup: TestCgroup;
beforeAll(async () => {
  pair = await PodPair.start({
    mode: "ebpf",
    client: {},
    server: {},
    agent: { acceleration: { mode: "auto", paths: ["direct", "leg"] } },
  });
  await pair.agent.waitForLog(({ msg, state }) => msg === "acceleration" && state === "on");
  const { server } = pair.lab;
  cgroup = new TestCgroup();
  await pair.processes.start(echoServer(server.v4, PORT), server.path);
  await pair.processes.start(cgroup.around(echoServer(server.v4, CGROUP_PORT)), server.path);
});
afterAll(async () => {
  await pair?.[Symbol.asyncDispose]();
  await cgroup?.[Symbol.asyncDispose]();
});

async function inServer(...argv: readonly string[]): Promise<void> {
  const { status, stderr } = await runCommand(argv, { netns: pair.lab.server.path });
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
}

/** Of one connection, by the record of the server's proxy. */
async function wayOf(port = PORT) {
  const from = pair.agent.records().length;
  const report = await load(pair.lab.client, pair.lab.server.v4, port, "rr", "-n", "2000", "-s", "100");
  expect(report).toMatchObject({ status: 0, errors: 0 });
  await pair.agent.waitForRecords(() => true, from + 2);
  return pair.agent
    .records()
    .slice(from)
    .find(({ workload }) => workload === "server")?.acceleration;
}

async function kindsMet(): Promise<string[]> {
  const { workloads } = await pair.agent.ask<StatusReport>("status");
  return workloads.find(({ name }) => name === "server")?.packetPolicies?.map(({ kind }) => kind) ?? [];
}

/** Until the agent has seen it, which takes two seconds. */
async function whenMet(kinds: readonly string[]): Promise<void> {
  await expect.poll(kindsMet, { timeout: patienceMs(10_000) }).toEqual(kinds);
}

const DROP = ["INPUT", "-p", "tcp", "--dport", "65000", "-j", "DROP"];

const putRule = () => inServer("iptables", "-w", "-A", ...DROP);
const removeRule = () => inServer("iptables", "-w", "-D", ...DROP);

it("a rule of netfilter ends the direct way of connections that are there, and none of their bytes is lost", async () => {
  const from = pair.agent.records().length;
  const running = load(pair.lab.client, pair.lab.server.v4, PORT, "rr", "-c", "4", "-d", "3", "-s", "1000");
  await putRule();
  try {
    await whenMet(["netfilter"]);
    expect(await running).toMatchObject({ status: 0, errors: 0, mismatches: 0 });
    await pair.agent.waitForRecords(() => true, from + 8);
    const told = pair.agent
      .records()
      .slice(from)
      .filter(({ workload }) => workload === "server");
    const ways = told.map(({ acceleration }) => ({ sent: acceleration?.sent, reason: acceleration?.reason }));
    expect(ways).toEqual(Array.from({ length: 4 }, () => ({ sent: "direct", reason: "policy-netfilter" })));
    expect(await wayOf()).toEqual(byLegs("policy-netfilter"));
    const { stdout } = await shunt(["probe", "--json"], { netns: pair.lab.server.path });
    const { packetPolicies } = JSON.parse(stdout) as ProbeReport;
    expect(packetPolicies).toContainEqual({ kind: "netfilter", where: "table ip filter, chain INPUT" });
  } finally {
    await removeRule();
  }
});

it("so does a program of tc on the interface", async () => {
  const path = pinned(TCX);
  const holder = await LabProcess.start([process.execPath, HOLDER, path, DEVICE], pair.lab.server.path);
  try {
    await whenMet(["tc"]);
    expect(await wayOf()).toEqual(byLegs("policy-tc"));
  } finally {
    await holder[Symbol.asyncDispose]();
    rmSync(path);
  }
});

it("so does XDP", async () => {
  const path = pinned(XDP);
  await inServer("ip", "link", "set", "dev", DEVICE, "xdpgeneric", "pinned", path);
  try {
    await whenMet(["xdp"]);
    expect(await wayOf()).toEqual(byLegs("policy-xdp"));
  } finally {
    await inServer("ip", "link", "set", "dev", DEVICE, "xdpgeneric", "off");
    rmSync(path);
  }
});

it("where all has gone connections go direct", async () => {
  await whenMet([]);
  expect(await wayOf()).toEqual(direct);
});

it("a program that decides about packets of the server's cgroup does so too", async () => {
  expect(await wayOf(CGROUP_PORT)).toEqual(direct);
  const program = passingProgram(CGROUP_EGRESS);
  const directory = openSync(cgroup.path, "r");
  const link = program.link(directory, CGROUP_EGRESS.expectedAttachType);
  closeSync(directory);
  if (typeof link === "number") throw new Error(`bpf_link_create: ${link}`);
  try {
    // What is known of a cgroup is asked anew after two seconds.
    await expect.poll(() => wayOf(CGROUP_PORT), { timeout: patienceMs(10_000) }).toEqual(byLegs("policy-cgroup-skb"));
    expect(await wayOf(PORT)).toEqual(direct);
  } finally {
    link.close();
    program.close();
  }
});

it("an operator who says so by name goes past it", async () => {
  const acceleration = { mode: "auto", paths: ["direct", "leg"], bypassPolicies: ["netfilter"] };
  await putRule();
  const limit = ["root", "tbf", "rate", "10gbit", "burst", "10mb", "latency", "9ms"];
  await inServer("tc", "qdisc", "add", "dev", DEVICE, ...limit);
  await pair.agent.reconfigure({ ...pair.agentFile(), acceleration });
  await whenMet(["tc"]);
  expect(await wayOf()).toEqual(byLegs("policy-tc"));
  await inServer("tc", "qdisc", "del", "dev", DEVICE, "root");
  await whenMet([]);
  expect(await wayOf()).toEqual(direct);
});
