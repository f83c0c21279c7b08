// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";

/** One end of a veth pair in a namespace of its own, with IPv4 and IPv6 addresses. */
export interface LabNode {
  /** Name for `ip netns`. */
  readonly netns: string;
  /** Path of the namespace file. */
  readonly path: string;
  readonly v4: string;
  readonly v6: string;
}

/**
 * Two namespaces joined by a veth pair, torn down with `using` even when the test fails. Names are unique, so
 * that several test runs can share a machine; `names` are for a test that must have certain ones.
 */
export class NetLab implements Disposable {
  readonly client: LabNode;
  readonly server: LabNode;

  constructor(label = "lab", names?: readonly [client: string, server: string]) {
    const id = `shunt-test-${process.pid}-${label}-${randomBytes(2).toString("hex")}`;
    const subnet = 10 + ((randomBytes(1)[0] ?? 0) % 200);
    const [clientName, serverName] = names ?? [`${id}-c`, `${id}-s`];
    this.client = node(clientName, subnet, 1);
    this.server = node(serverName, subnet, 2);
    ip("netns", "add", this.client.netns);
    try {
      ip("netns", "add", this.server.netns);
      ip(
        "-n",
        this.client.netns,
        "link",
        "add",
        "eth0",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        this.server.netns,
      );
      for (const end of [this.client, this.server]) {
        ip("-n", end.netns, "link", "set", "lo", "up");
        ip("-n", end.netns, "link", "set", "eth0", "up");
        ip("-n", end.netns, "addr", "add", `${end.v4}/24`, "dev", "eth0");
        // Duplicate address detection would keep the address unusable for a second.
        ip("-n", end.netns, "addr", "add", `${end.v6}/64`, "dev", "eth0", "nodad");
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    for (const end of [this.client, this.server]) {
      try {
        ip("netns", "del", end.netns);
      } catch {
        // It never came to be.
      }
    }
  }
}

function node(netns: string, subnet: number, host: number): LabNode {
  return { netns, path: `/run/netns/${netns}`, v4: `10.99.${subnet}.${host}`, v6: `fd99:${subnet}::${host}` };
}

export function ip(...args: string[]): string {
  return execFileSync("ip", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
