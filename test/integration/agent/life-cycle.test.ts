// SPDX-License-Identifier: Apache-2.0
/** Targets that go or come again under the agent, changes that fail, and what holds meanwhile. */
import { existsSync, rmdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { someOf } from "../../support/modes.ts";
import { ip, NetLab } from "../../support/net-lab.ts";
import { fateOf, Prober } from "../../support/prober.ts";
import { runCommand, ShuntAgent, shunt, uniqueName } from "../../support/shunt.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 8080;
const APPLIED = { msg: "configuration applied" };
/** More than the `ports` map of an instance holds: MAX_PORT_RULES in bpf/include/limits.h. */
const TOO_MANY = Array.from({ length: 40_000 }, (_, index) => 20_000 + index);

type Fields = Record<string, unknown>;

let lab: NetLab;
let processes: LabProcesses;

beforeEach(async () => {
  lab = new NetLab();
  processes = new LabProcesses();
  await processes.start(tellServer("node", lab.server.v4, [PORT]), lab.server.path);
});

afterEach(async () => {
  await processes[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
});

function client(more: Fields = {}): Fields {
  return { name: "client", netns: lab.client.path, inbound: { enabled: false }, ...more };
}

function file(mode: string, ...workloads: Fields[]): Fields {
  return { mode, workloads };
}

/** One connection through the client's namespace: proxied, direct, or how it failed. */
async function fate(): Promise<string> {
  await using prober = await Prober.start(lab.client.path, PORT, [lab.server.v4], { ownPorts: true });
  await prober.until(() => true, 0, [lab.server.v4], 1);
  const [first] = prober.probes();
  return first ? fateOf(first) : "none";
}

async function rulesOf(netns: string): Promise<string> {
  return (await runCommand(["sh", "-c", "iptables-save; ip rule"], { netns })).stdout;
}

/** A namespace of its own, that can be deleted under the agent. */
class DoomedNetns implements Disposable {
  readonly name = uniqueName("doomed");
  readonly path = `/run/netns/${this.name}`;

  constructor() {
    this.make();
  }

  make(): void {
    ip("netns", "add", this.name);
    ip("-n", this.name, "link", "set", "lo", "up");
  }

  delete(): void {
    ip("netns", "del", this.name);
  }

  [Symbol.dispose](): void {
    if (existsSync(this.path)) this.delete();
  }
}

async function ready(agent: ShuntAgent): Promise<{ ready: boolean; reason: string; problems: string[] }> {
  const { agent: told, workloads } = await agent.ask<StatusReport>("status");
  return { ready: told.ready, reason: told.reason, problems: workloads.flatMap(({ problem }) => problem ?? []) };
}

async function expectNothingLeft(agent: ShuntAgent): Promise<void> {
  const { status, stdout } = await shunt(["clean", "--name", agent.name]);
  expect({ status, stdout: stdout.trim() }).toEqual({ status: 0, stdout: "nothing to remove" });
}

describe("a workload whose target is gone keeps nobody from cleaning up", () => {
  it("when its cgroup was removed", async () => {
    const cgroup = new TestCgroup();
    const tenant = { name: "tenant", cgroup: cgroup.path, outbound: { port: 0 }, inbound: { enabled: false } };
    await using agent = await ShuntAgent.start(file("ebpf", tenant, client()));
    rmdirSync(cgroup.path);
    expect((await ready(agent)).problems).toEqual([`the target cgroup:${cgroup.path} is gone`]);
    await agent.stop();
    expect(await fate()).toBe("direct");
    await expectNothingLeft(agent);
  });

  it.each([
    { mode: "ebpf", inbound: { preserveSource: true } },
    { mode: "iptables", inbound: {} },
  ])("when its namespace was deleted, in mode $mode", async ({ mode, inbound }) => {
    using doomed = new DoomedNetns();
    const gone = { name: "gone", netns: doomed.path, inbound };
    await using agent = await ShuntAgent.start(file(mode, gone, client()));
    doomed.delete();
    const before = await ready(agent);
    expect(before).toMatchObject({ ready: false, problems: [`the target netns:${doomed.path} is gone`] });
    // A reload goes on with the others, and keeps saying so.
    await agent.reconfigure(file(mode, gone, client({ outbound: { excludePorts: [PORT] } })));
    expect(await fate()).toBe("direct");
    expect((await ready(agent)).ready).toBe(false);
    expect(await agent.reconfigure(file(mode, client()))).toMatchObject(APPLIED);
    expect(await fate()).toBe("proxied");
    expect((await ready(agent)).ready).toBe(true);
    await agent.stop();
    expect(await fate()).toBe("direct");
    expect(await rulesOf(lab.client.path)).not.toContain("REDIRECT");
    await expectNothingLeft(agent);
  });
});

describe("a target that was made anew under its name", () => {
  it("is reported, and intercepted from the next reload on", async () => {
    using doomed = new DoomedNetns();
    const workload = { name: "pod", netns: doomed.path };
    await using agent = await ShuntAgent.start(file("ebpf", workload));
    doomed.delete();
    doomed.make();
    expect(await ready(agent)).toMatchObject({ ready: false, problems: [expect.stringContaining("was made anew")] });
    expect(await agent.hangUp()).toMatchObject(APPLIED);
    expect(await ready(agent)).toMatchObject({ ready: true, problems: [] });
    const sockets = await runCommand(["ss", "-ltnH"], { netns: doomed.path });
    expect(sockets.stdout).toContain("127.0.0.1:15001");
    await agent.stop();
  });
});

describe("one target under two names", () => {
  it("is refused at the start, naming both workloads", async () => {
    const inside = await processes.start(["sh", "-c", "echo ready; exec sleep 60"], lab.client.path);
    const other = { name: "other", pid: inside.child.pid, outbound: { port: 0 }, inbound: { enabled: false } };
    await expect(ShuntAgent.start(file("ebpf", client(), other))).rejects.toThrow(
      /workloads "client" and "other" have the same target/,
    );
    expect(await fate()).toBe("direct");
  });

  it("is the failure of the second at a reload, and the first one goes on", async () => {
    await using agent = await ShuntAgent.start(file("ebpf", client()));
    const inside = await processes.start(["sh", "-c", "echo ready; exec sleep 60"], lab.client.path);
    const other = { name: "other", pid: inside.child.pid, outbound: { port: 0 }, inbound: { enabled: false } };
    await agent.reconfigure(file("ebpf", other, client()));
    expect((await ready(agent)).reason).toContain('workloads "client" and "other" have the same target');
    expect(await fate()).toBe("proxied");
    expect(await agent.reconfigure(file("ebpf", client()))).toMatchObject(APPLIED);
    expect(await ready(agent)).toMatchObject({ ready: true });
    expect(await fate()).toBe("proxied");
    await agent.stop();
  });
});

describe.each(someOf(["ebpf"], "mixed"))("a change that the kernel refuses, in mode %s,", (mode) => {
  it("leaves what was in force, and stays a problem until one succeeds", async () => {
    const excluded = { excludePorts: [PORT] };
    const workload = (outbound: Fields): Fields => client({ outbound, inbound: { preserveSource: false } });
    await using agent = await ShuntAgent.start(file(mode, workload(excluded)));
    expect(await fate()).toBe("direct");
    const tooMany = file(mode, workload({ excludePorts: TOO_MANY, includePorts: TOO_MANY }));
    const told = { ready: false, problems: [expect.stringMatching(/ports/)] };
    await agent.reconfigure(tooMany);
    expect(agent.logged.find(({ msg }) => msg === "workload not changed")).toMatchObject({ workload: "client" });
    expect(await ready(agent)).toMatchObject(told);
    expect(await fate()).toBe("direct");
    await agent.hangUp();
    expect(await ready(agent)).toMatchObject(told);
    expect(await agent.reconfigure(file(mode, workload({})))).toMatchObject(APPLIED);
    expect(await ready(agent)).toMatchObject({ ready: true, problems: [] });
    expect(await fate()).toBe("proxied");
    await agent.stop();
  });
});

describe.each(someOf(["ebpf", "iptables"], "mixed", "nftables"))("a change of what listens, in mode %s,", (mode) => {
  it("lets no connection pass by the proxy and refuses none, not even when the new listeners cannot be had", async () => {
    const { client: own, server: peer } = lab;
    await processes.start(tellServer("node", own.v4, [PORT]), own.path);
    const workload = (outbound: Fields, inbound: Fields = {}): Fields =>
      client({ outbound, inbound, failMode: "deny" });
    await using agent = await ShuntAgent.start(file(mode, workload({})));
    await using outwards = await Prober.start(own.path, PORT, [peer.v4], { ownPorts: true });
    await using inwards = await Prober.start(peer.path, PORT, [own.v4], { ownPorts: true });
    const bothProxied = async (): Promise<void> => {
      const from = Date.now();
      await outwards.until((probe) => fateOf(probe) === "proxied", from, [peer.v4], 5);
      await inwards.until((probe) => fateOf(probe) === "proxied", from, [own.v4], 5);
    };
    await bothProxied();
    const changes = [[{ port: 15301 }], [{ dns: { capture: "all" } }], [{}, { port: 15306 }], [{}]] as const;
    for (const [outbound, inbound] of changes) {
      expect(await agent.reconfigure(file(mode, workload(outbound, inbound)))).toMatchObject(APPLIED);
      await bothProxied();
    }
    const taken = `import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 15555)); s.listen(); print("ready", flush=True); sys.stdin.read()`;
    await processes.start(["python3", "-c", taken], own.path);
    await agent.reconfigure(file(mode, workload({ port: 15555 })));
    expect(await ready(agent)).toMatchObject({ ready: false, problems: [expect.stringContaining("15555")] });
    await bothProxied();
    expect(await agent.reconfigure(file(mode, workload({})))).toMatchObject(APPLIED);
    await bothProxied();
    for (const prober of [outwards, inwards])
      expect(prober.probes().filter((probe) => fateOf(probe) !== "proxied")).toEqual([]);
    await agent.stop();
    expect(await fate()).toBe("direct");
    await expectNothingLeft(agent);
  });
});
