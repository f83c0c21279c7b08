// SPDX-License-Identifier: Apache-2.0
/** Sockets that could not reach the proxy on loopback, or that it could not serve. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { ip, type LabNode, NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const PORT = 8080;
/** Connects with SO_BINDTODEVICE when a device is given; prints the peer or the error. */
const CLIENT = `
import socket, sys
address, port, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
info = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
client = socket.socket(info[0])
client.settimeout(20)
if device: client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
try:
    client.connect(info[4])
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    answer = client.recv(4096)
    print("answered" if answer.startswith(b"HTTP/1.") else answer)
except OSError as error: print(type(error).__name__)
`;

let lab: NetLab;
const servers = new LabProcesses();
beforeAll(async () => {
  lab = new NetLab("unreach");
  await servers.start(tellServer("python", "::", [PORT]), lab.server.path);
});
afterAll(async () => {
  await servers[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
});

async function connect(address: string, device = ""): Promise<string> {
  const argv = ["python3", "-c", CLIENT, address, String(PORT), device];
  return (await runCommand(argv, { netns: lab.client.path })).stdout.trim();
}

function start(failMode: "deny" | "direct"): Promise<ShuntAgent> {
  const workload = { name: "app", netns: lab.client.path, failMode, inbound: { enabled: false } };
  return ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
}

async function counted(agent: ShuntAgent): Promise<unknown> {
  return (await agent.ask<StatusReport>("status")).workloads[0]?.counters.outbound;
}

it.each([
  ["deny", "PermissionError"],
  ["direct", "answered"],
] as const)("a socket bound to a device is answered for by the fail mode: %s", async (failMode, expected) => {
  await using agent = await start(failMode);
  for (const address of [lab.server.v4, lab.server.v6]) expect(await connect(address, "eth0")).toBe(expected);
  expect(await counted(agent)).toEqual({ "bound-device": 2 });
  // lo is where the proxy is.
  expect(await connect(lab.server.v4, "lo")).toBe("answered");
  await agent.waitForRecords(() => true);
  await agent.stop();
  expect(agent.records()).toHaveLength(1);
});

function linkLocal({ netns }: LabNode): string {
  const shown = ip("-n", netns, "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link");
  const address = /inet6 (fe80:[0-9a-f:]+)\//.exec(shown)?.[1];
  if (address === undefined) throw new Error(`no link-local address: ${shown}`);
  return `${address}%eth0`;
}

it.each([
  ["deny", "ConnectionRefusedError"],
  ["direct", "answered"],
] as const)("a link-local address is answered for by the fail mode, inbound: %s", async (failMode, expected) => {
  const workload = { name: "app", netns: lab.server.path, failMode };
  await using agent = await ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
  expect(await connect(linkLocal(lab.server))).toBe(expected);
  const { workloads } = await agent.ask<StatusReport>("status");
  expect(workloads[0]?.counters.inbound).toEqual({ "link-local": 1 });
  await agent.stop();
  expect(agent.records()).toEqual([]);
});

it.each([
  ["deny", "PermissionError"],
  ["direct", "answered"],
] as const)("a link-local address is answered for by the fail mode, outbound: %s", async (failMode, expected) => {
  await using agent = await start(failMode);
  expect(await connect(linkLocal(lab.server))).toBe(expected);
  expect(await counted(agent)).toEqual({ "link-local": 1 });
  await agent.stop();
  expect(agent.records()).toEqual([]);
});

it("link-local addresses that are excluded pass under deny", async () => {
  const workload = {
    name: "app",
    netns: lab.client.path,
    inbound: { enabled: false },
    outbound: { excludeCidrs: ["fe80::/10"] },
  };
  await using agent = await ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
  expect(await connect(linkLocal(lab.server))).toBe("answered");
  expect(await counted(agent)).toEqual({ "cidr-excluded": 1 });
  await agent.stop();
});
