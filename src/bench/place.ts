// SPDX-License-Identifier: Apache-2.0
/** Network namespaces of one route, each with servers of its own: no route finds traces of another. */
import { mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { findCgroup2 } from "../util/mountinfo.ts";
import type { Belongings } from "./belongings.ts";
import type { Processes } from "./processes.ts";
import type { Topology } from "./scenario.ts";

export const CLIENT_ADDRESS = "10.98.9.1";
export const SERVER_ADDRESS = "10.98.9.2";

/** Where the ends are; with loopback both namespaces are one. */
export interface Place {
  readonly topology: Topology;
  /** Begins the names of everything made for this route. */
  readonly name: string;
  readonly client: string;
  readonly server: string;
}

const SETTINGS = [
  // Closed connections keep their ports for a minute: there must be enough of them.
  'echo "10240 65000" > /proc/sys/net/ipv4/ip_local_port_range',
  "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse",
  "echo 15001,15006,15011 > /proc/sys/net/ipv4/ip_local_reserved_ports",
].join(" && ");

export async function makePlace(
  processes: Processes,
  topology: Topology,
  name: string,
  own: Belongings,
): Promise<Place> {
  const addNetns = async (netns: string): Promise<void> => {
    await processes.step(["ip", "netns", "add", netns]);
    own.defer(() => processes.step(["ip", "netns", "del", netns]));
    await processes.step(["sh", "-c", SETTINGS], { netns });
  };
  const batch = (netns: string, lines: readonly string[]): Promise<string> =>
    processes.step(["ip", "-netns", netns, "-batch", "-"], { input: `${lines.join("\n")}\n` });

  if (topology === "loopback") {
    await addNetns(name);
    await batch(name, [
      "link set lo up",
      `addr add ${CLIENT_ADDRESS}/32 dev lo`,
      `addr add ${SERVER_ADDRESS}/32 dev lo`,
      // Whoever connects to the server has the client's address: what comes from the same address is nobody's inbound.
      `route replace table local local ${SERVER_ADDRESS} dev lo src ${CLIENT_ADDRESS}`,
    ]);
    return { topology, name, client: name, server: name };
  }
  const [client, server] = [`${name}-c`, `${name}-s`];
  await addNetns(client);
  await addNetns(server);
  const cable = `link add eth0 netns ${client} type veth peer name eth0 netns ${server}\n`;
  await processes.step(["ip", "-batch", "-"], { input: cable });
  for (const [netns, address] of [
    [client, CLIENT_ADDRESS],
    [server, SERVER_ADDRESS],
  ] as const)
    await batch(netns, ["link set lo up", "link set eth0 up", `addr add ${address}/24 dev eth0`]);
  return { topology, name, client, server };
}

/** A cgroup below the root of cgroup2, gone when nobody is in it any more. */
export function makeCgroup(name: string, own: Belongings): string {
  const mount = findCgroup2();
  if (mount === undefined) throw new Error("no cgroup2 file system is mounted");
  const directory = join(mount.mountPoint, name);
  mkdirSync(directory);
  own.defer(async () => rmdirSync(directory));
  return directory;
}
