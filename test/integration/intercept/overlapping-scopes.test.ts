// SPDX-License-Identifier: Apache-2.0
/** A call that several hooks of Shunt meet is decided once, by the innermost scope, and as long as that is there. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { ask, LabProcesses, tellServer } from "../../support/lab-process.ts";
import { NetLab } from "../../support/net-lab.ts";
import { type AgentFile, runCommand, ShuntAgent } from "../../support/shunt.ts";
import { TestCgroup } from "../../support/test-cgroup.ts";

const PORT = 8080;
const EXCLUDED = 9090;
const CLOSED = 7;
const RESOLVER = `
import socket, sys
udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind((sys.argv[1], 53))
print("ready", flush=True)
print("query from", udp.recvfrom(512)[1][0], flush=True)`;
const ASK = `
import socket, sys
udp = socket.socket(type=socket.SOCK_DGRAM)
if sys.argv[1] == "connect": udp.connect((sys.argv[2], 53)); udp.send(bytes(12))
else: udp.sendto(bytes(12), (sys.argv[2], 53))`;

let lab: NetLab;
const servers = new LabProcesses();
beforeAll(async () => {
  lab = new NetLab("overlap");
  await servers.start(tellServer("python", "::", [PORT, EXCLUDED]), lab.server.path);
});
afterAll(async () => {
  await servers[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
});

/** A workload of the client's namespace: its processes in a cgroup, or all of them. */
function workload(name: string, port: number, cgroup?: TestCgroup, outbound: object = {}): object {
  const target = { netns: lab.client.path, ...(cgroup ? { cgroup: cgroup.path } : {}) };
  return { name, ...target, outbound: { port, ...outbound }, inbound: { enabled: false } };
}

const agentFile = (...workloads: object[]): AgentFile => ({ mode: "ebpf", workers: 1, workloads });

async function counters(agent: ShuntAgent): Promise<Record<string, Readonly<Record<string, number>>>> {
  const { workloads } = await agent.ask<StatusReport>("status");
  return Object.fromEntries(workloads.map(({ name, counters: { outbound } }) => [name, outbound]));
}

/** Connects from the inner cgroup to both ports, from outside of it to one; each client sees who it asked for. */
async function askEverything(agent: ShuntAgent, inner: TestCgroup, outer?: TestCgroup): Promise<string[]> {
  const { client, server } = lab;
  for (const address of [server.v4, server.v6]) {
    for (const port of [PORT, EXCLUDED]) {
      const told = await ask("python", client.path, address, port, { cgroup: inner.path });
      expect(told).toMatchObject({ peer: [address, port] });
    }
    const identity = outer ? { cgroup: outer.path } : {};
    expect(await ask("python", client.path, address, EXCLUDED, identity)).toMatchObject({ peer: [address, EXCLUDED] });
  }
  await agent.waitForRecords(({ workload: name }) => name === "outer", 2);
  await agent.waitForRecords(({ workload: name }) => name === "inner", 2);
  return agent.records().map(({ workload: name, outcome, originalDestination }) => {
    const port = String(originalDestination).split(":").pop();
    return `${name} ${port} ${outcome}`;
  });
}

const ONCE_EACH = [`inner ${PORT} closed`, `outer ${EXCLUDED} closed`].flatMap((line) => [line, line]);

describe("in one agent", () => {
  it("a cgroup inside a cgroup has its own connections, and what it excludes passes", async () => {
    await using outer = new TestCgroup();
    await using inner = new TestCgroup(outer);
    await using agent = await ShuntAgent.start(
      agentFile(workload("outer", 15101, outer), workload("inner", 15201, inner, { excludePorts: [EXCLUDED] })),
    );
    expect((await askEverything(agent, inner, outer)).sort()).toEqual(ONCE_EACH);
    expect(await counters(agent)).toEqual({
      outer: { "all-included": 2 },
      inner: { "all-included": 2, "port-excluded": 2 },
    });
    await agent.stop();
  });

  it("each call is counted once, however many cgroups around are workloads", async () => {
    await using outer = new TestCgroup();
    await using middle = new TestCgroup(outer);
    await using inner = new TestCgroup(middle);
    const dns = { excludePorts: [CLOSED], dns: { capture: "all", port: 0 } };
    await using agent = await ShuntAgent.start(
      agentFile(
        workload("outer", 15101, outer, dns),
        workload("middle", 15151, middle),
        workload("inner", 15201, inner, { ...dns, excludePorts: [CLOSED, 53] }),
      ),
    );
    const script = `
import socket, sys
tcp = socket.socket()
for attempt in range(3):
    try: tcp.connect((sys.argv[1], ${CLOSED}))
    except ConnectionRefusedError: pass
    else: sys.exit(1)
udp = socket.socket(type=socket.SOCK_DGRAM)
for attempt in range(4): udp.sendto(bytes(12), (sys.argv[1], 53))`;
    const asked = await runCommand(inner.around(["python3", "-c", script, lab.server.v4]), { netns: lab.client.path });
    expect(asked).toMatchObject({ status: 0 });
    expect(await counters(agent)).toEqual({ outer: {}, middle: {}, inner: { "port-excluded": 7 } });
    await agent.stop();
  });

  it("a cgroup inside a namespace has its own connections, and what it excludes passes", async () => {
    await using inner = new TestCgroup();
    await using agent = await ShuntAgent.start(
      agentFile(workload("outer", 15101), workload("inner", 15201, inner, { excludePorts: [EXCLUDED] })),
    );
    expect((await askEverything(agent, inner)).sort()).toEqual(ONCE_EACH);
    const { outer, inner: own } = await counters(agent);
    expect(own).toEqual({ "all-included": 2, "port-excluded": 2 });
    expect(outer).toMatchObject({ "all-included": 2, "inner-scope": 4 });
    await agent.stop();
  });

  it.each(["sendto", "connect"])(
    "a cgroup that captures no DNS keeps its queries from the DNS port of the namespace it is in, %s",
    async (how) => {
      await using inner = new TestCgroup();
      await using agent = await ShuntAgent.start(
        agentFile(
          workload("outer", 15101, undefined, { dns: { capture: "all" } }),
          workload("inner", 15201, inner, { excludePorts: [53] }),
        ),
      );
      await using processes = new LabProcesses();
      const resolver = await processes.start(["python3", "-c", RESOLVER, lab.server.v4], lab.server.path);
      const asked = await runCommand(inner.around(["python3", "-c", ASK, how, lab.server.v4]), {
        netns: lab.client.path,
      });
      expect(asked).toMatchObject({ status: 0 });
      expect(await resolver.line(/^query/)).toBe(`query from ${lab.client.v4}`);
      expect((await counters(agent))["outer"]?.["dns"]).toBeUndefined();
      await agent.stop();
    },
  );
});

it("a socket whose inner scope has ended belongs to the outer one", async () => {
  await using inside = new TestCgroup();
  await using processes = new LabProcesses();
  await using outer = await ShuntAgent.start(agentFile(workload("outer", 15101)));
  await using inner = await ShuntAgent.start(agentFile(workload("inner", 15201, inside, { excludePorts: [CLOSED] })));
  const script = `
import socket, sys
tcp = socket.socket()
def attempt(port):
    try: tcp.connect((sys.argv[1], port)); return "connected"
    except OSError as error: return type(error).__name__
print("ready", flush=True)
print("tried", attempt(${CLOSED}), flush=True)
sys.stdin.readline()
print("again", attempt(${PORT}), flush=True)
tcp.close()`;
  const client = await processes.start(inside.around(["python3", "-c", script, lab.server.v4]), lab.client.path);
  expect(await client.line(/^tried/)).toBe("tried ConnectionRefusedError");
  expect((await counters(inner))["inner"]).toEqual({ "port-excluded": 1 });
  expect((await counters(outer))["outer"]).toEqual({ "inner-scope": 1 });
  await inner.stop();
  client.child.stdin?.end("go\n");
  expect(await client.line(/^again/)).toBe("again connected");
  const records = await outer.waitForRecords(() => true);
  expect(records).toMatchObject([{ workload: "outer", originalDestination: `${lab.server.v4}:${PORT}` }]);
  await processes[Symbol.asyncDispose]();
  await outer.stop();
});
