// SPDX-License-Identifier: Apache-2.0
/** No room is left to remember where connections were going. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Bpffs } from "../../../src/bpf/bpffs.ts";
import type { TypedMap } from "../../../src/bpf/typed-map.ts";
import type { StatusReport } from "../../../src/config/formats/status.ts";
import { PinDirectory } from "../../../src/intercept/ebpf/pins.ts";
import { mapFromFd } from "../../../src/intercept/map-from-fd.ts";
import { loadAddon } from "../../../src/native/load-addon.ts";
import { check } from "../../../src/native/status.ts";
import { eventually } from "../../support/inbox.ts";
import { LabProcesses, tellServer } from "../../support/lab-process.ts";
import { ip, NetLab } from "../../support/net-lab.ts";
import { runCommand, ShuntAgent } from "../../support/shunt.ts";

const PORT = 8080;
const CURL = ["curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code} %{errormsg}"];

/** Connects until the namespace has no port left. */
const EXHAUSTED = `
import errno, socket, sys
held = []
for _ in range(10):
    held.append(socket.socket())
    failed = held[-1].connect_ex((sys.argv[1], int(sys.argv[2])))
print(errno.errorcode[failed])
`;

let lab: NetLab;
const servers = new LabProcesses();
beforeAll(async () => {
  lab = new NetLab("full");
  await servers.start(tellServer("python", "::", [PORT]), lab.server.path);
});
afterAll(async () => {
  await servers[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
});

async function fetched(host: string): Promise<string> {
  return (await runCommand([...CURL, `http://${host}:${PORT}/`], { netns: lab.client.path })).stdout.trim();
}

function originalsOf(agent: ShuntAgent): TypedMap<"originals"> {
  using bpffs = Bpffs.find();
  const path = join(new PinDirectory(bpffs?.path ?? "", agent.name).maps, "originals");
  const native = check(loadAddon().openPinnedMap(path), "bpf_obj_get", path);
  try {
    return mapFromFd("originals", native.fd);
  } finally {
    native.close();
  }
}

/** The key of one of the connections that fill the map; no namespace has this cookie. */
function strangerKey(index: number) {
  const remote = `fd00::${(index >> 16).toString(16)}:${(index & 0xffff).toString(16)}`;
  return { netns: 2n ** 64n - 1n, remote, local: "::1", remotePort: 1, localPort: 15001 };
}

it.each([
  ["deny", /^000 .*(denied|failed|Failed|Could not)/],
  ["direct", /^200/],
] as const)("what can't be remembered is left to the fail mode when it connects: %s", async (failMode, expected) => {
  const workload = { name: "app", netns: lab.client.path, failMode, inbound: { enabled: false } };
  await using agent = await ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
  using originals = originalsOf(agent);
  const { maxEntries } = check(originals.native.info(), "bpf_obj_get_info", "originals");
  const value = {
    cookie: 0n,
    netns: 1n,
    createdNs: process.hrtime.bigint(),
    address: "fd00::1",
    port: 1,
    slot: 1,
    direction: "outbound",
    reason: "all-included",
  } as const;
  originals.setAll(Array.from({ length: maxEntries }, (_, index) => [strangerKey(index), value] as const));

  const { server } = lab;
  for (const host of [server.v4, `[${server.v6}]`]) expect(await fetched(host)).toMatch(expected);
  const counters = async () => (await agent.ask<StatusReport>("status")).workloads[0]?.counters.outbound;
  expect(await counters()).toEqual({ "map-full": 2 });
  expect(agent.records()).toEqual([]);

  // One place is enough for any number of connections, one after the other.
  originals.delete(strangerKey(0));
  for (const host of [server.v4, `[${server.v6}]`, server.v4]) expect(await fetched(host)).toMatch(/^200/);
  expect(await counters()).toEqual({ "map-full": 2, "all-included": 3, "own-traffic": 3 });
  await agent.stop();
  expect(agent.records()).toHaveLength(3);
});

it("connections that could not be made leave nothing in the map", async () => {
  const { netns, path } = lab.client;
  const workload = { name: "app", netns: path, inbound: { enabled: false } };
  await using agent = await ShuntAgent.start({ mode: "ebpf", workers: 1, workloads: [workload] });
  using originals = originalsOf(agent);
  const range = "/proc/sys/net/ipv4/ip_local_port_range";
  ip("netns", "exec", netns, "sh", "-c", `echo 40000 40001 > ${range}`);
  try {
    const told = await runCommand(["python3", "-c", EXHAUSTED, lab.server.v4, String(PORT)], { netns: path });
    expect(told).toMatchObject({ stdout: "EADDRNOTAVAIL\n", stderr: "" });
    await eventually(() => [...originals.entries()].length === 0);
  } finally {
    ip("netns", "exec", netns, "sh", "-c", `echo 32768 60999 > ${range}`);
  }
  await agent.stop();
});
