// SPDX-License-Identifier: Apache-2.0
/** Real connections of a process in the scratch cgroup, to see what the attached programs make of them. */
import { ADDON_PATH } from "../../native/load-addon.ts";
import { run } from "../../util/exec.ts";
import { patienceMs } from "./outcome.ts";
import { type Listener, lacksIpv6, type ScratchNetns } from "./scratch-netns.ts";

/** What the programs of bpf/probe.bpf.c take for a destination outside. */
export const MAGIC = { 4: "127.84.0.1", 6: "fd84:5348::1" } as const;
export const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;

/** An address or "address:port" that was seen, or why nothing was. */
export type Observation = { readonly seen: string } | { readonly error: string };

export interface FamilyObservations {
  /** Peer of a TCP connection to the magic address. */
  readonly connected: Observation;
  /** Peer of a TCP connection to the loopback address. */
  readonly peer: Observation;
  /** SO_ORIGINAL_DST of that connection. */
  readonly original: Observation;
  /** Sender of the answer to a datagram to the magic address. */
  readonly sent: Observation;
  /** Sender of the answer to a datagram to the loopback address. */
  readonly answered: Observation;
}

export interface Observations {
  readonly 4: FamilyObservations;
  /** Undefined where the machine has no IPv6. */
  readonly 6: FamilyObservations | undefined;
}

/**
 * The child: plain JavaScript, because it has to run without our loader. It moves into the cgroup before it
 * makes a socket; sockets made before would not meet the programs (any kernel).
 */
const CHILD = `
const { cgroup, addon, families, deadlineMs } = JSON.parse(process.argv[1]);
require("node:fs").writeFileSync(cgroup + "/cgroup.procs", "0");
const net = require("node:net"), dgram = require("node:dgram");
const bounded = (start) => new Promise((resolve) => {
  setTimeout(() => resolve({ error: "no answer within " + deadlineMs + " ms" }), deadlineMs);
  try { start((seen) => resolve({ seen }), (error) => resolve({ error: error.code ?? error.message })); }
  catch (error) { resolve({ error: error.code ?? error.message }); }
});
const tcp = (address, port, look) => bounded((seen, failed) => {
  const socket = net.connect({ host: address, port });
  socket.on("error", failed).on("connect", () => { try { seen(look(socket)); } catch (error) { failed(error); } });
});
const udp = (type, address, port) => bounded((seen, failed) => {
  const socket = dgram.createSocket(type);
  socket.on("error", failed).on("message", (data, from) => seen(from.address));
  socket.send("shunt", port, address, (error) => error && failed(error));
});
const original = (socket, family) => {
  const found = require(addon).originalDestination(socket._handle.fd, family);
  if (typeof found === "number") throw new Error("errno " + -found);
  return found.address + ":" + found.port;
};
Promise.all(families.map(async ({ family, magic, loopback, tcpPort, udpPort }) => {
  const [connected, peer, originalSeen, sent, answered] = await Promise.all([
    tcp(magic, tcpPort, (socket) => socket.remoteAddress ?? "no address"),
    tcp(loopback, tcpPort, (socket) => socket.remoteAddress ?? "no address"),
    tcp(loopback, tcpPort, (socket) => original(socket, 4)),
    udp("udp" + family, magic, udpPort),
    udp("udp" + family, loopback, udpPort),
  ]);
  return [family, { connected, peer, original: originalSeen, sent, answered }];
})).then((results) => process.stdout.write(JSON.stringify(Object.fromEntries(results)), () => process.exit(0)));
`;

/** Runs the child in cgroup and namespace. Throws an ExecError when it cannot be started or moved. */
export async function observe(cgroup: string, netns: ScratchNetns): Promise<Observations> {
  const families = [await servers(netns, 4), await servers(netns, 6)].filter((family) => family !== undefined);
  const input = { cgroup, addon: ADDON_PATH, families, deadlineMs: patienceMs(1000) };
  const command = [process.execPath, "-e", CHILD, JSON.stringify(input)];
  const { stdout } = await run("nsenter", [`--net=${netns.path}`, "--", ...command], {
    timeoutMs: patienceMs(4000),
    // Loaders of the parent (tsx, test runners) are not for the child.
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  return JSON.parse(stdout) as Observations;
}

async function servers(netns: ScratchNetns, family: 4 | 6) {
  let tcp: Listener;
  let udp: Listener;
  try {
    tcp = await netns.serve(LOOPBACK[family]);
    udp = await netns.echo(LOOPBACK[family]);
  } catch (error) {
    if (family === 6 && lacksIpv6(error)) return undefined;
    throw error;
  }
  return { family, magic: MAGIC[family], loopback: LOOPBACK[family], tcpPort: tcp.port, udpPort: udp.port };
}
