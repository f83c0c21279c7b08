// SPDX-License-Identifier: Apache-2.0
/** Four pods and what is outside them: namespaces, addresses, routes. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ip } from "../net-lab.ts";
import { uniqueName } from "../shunt.ts";
import {
  type Family,
  MACHINE,
  MACHINE_GATEWAY,
  MACHINE_INTERFACE,
  NEIGHBOUR,
  OUTSIDE,
  PODS,
  type PodName,
  podAddress,
  podGateway,
} from "./places.ts";

export type Place = PodName | "outside" | "machine";

const FAMILIES: readonly Family[] = ["v4", "v6"];

export class MatrixLab implements Disposable {
  readonly #name = uniqueName("matrix");
  readonly #places: readonly Place[] = ["outside", ...PODS, "machine"];

  constructor() {
    try {
      for (const place of this.#places) ip("netns", "add", this.netns(place));
      for (const place of this.#places) this.#inside(place, ["link set lo up"]);
      for (const pod of PODS) this.#join(pod);
      this.#inside("outside", [
        ...Object.values(OUTSIDE).flatMap(onLoopback),
        ...PODS.map((pod) => `addr add ${NEIGHBOUR}/64 dev ${pod} nodad`),
      ]);
      this.#addMachine();
      // ip netns exec and the agent show this one to whoever is in the namespace.
      mkdirSync(this.#etc, { recursive: true });
      const { v4, v6 } = OUTSIDE.resolver;
      writeFileSync(join(this.#etc, "resolv.conf"), `nameserver ${v4}\nnameserver ${v6}\n`);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Name for `ip netns`. */
  netns(place: Place): string {
    return `${this.#name}-${place}`;
  }

  path(place: Place): string {
    return `/run/netns/${this.netns(place)}`;
  }

  [Symbol.dispose](): void {
    for (const place of this.#places) {
      try {
        ip("netns", "del", this.netns(place));
      } catch {
        // It never came to be.
      }
    }
    rmSync(this.#etc, { recursive: true, force: true });
  }

  get #etc(): string {
    return `/etc/netns/${this.netns("own")}`;
  }

  #join(pod: PodName): void {
    const outside = this.netns("outside");
    ip("-n", outside, "link", "add", pod, "type", "veth", "peer", "name", "eth0", "netns", this.netns(pod));
    this.#inside("outside", [
      `link set ${pod} up`,
      ...FAMILIES.map((family) => `addr add ${withPrefix(podGateway(pod, family))} dev ${pod} ${nodad(family)}`),
    ]);
    this.#inside(pod, [
      "link set eth0 up",
      ...FAMILIES.map((family) => `addr add ${withPrefix(podAddress(pod, family))} dev eth0 ${nodad(family)}`),
      ...FAMILIES.map((family) => `route add default via ${podGateway(pod, family)}`),
    ]);
  }

  /** As KubeVirt does it: the pod routes for the machine. */
  #addMachine(): void {
    const pod = this.netns("own");
    const link = ["link", "add", MACHINE_INTERFACE, "type", "veth", "peer", "name", "eth0"];
    ip("-n", pod, ...link, "netns", this.netns("machine"));
    const script = 'for file; do echo 1 > "$file"; done';
    const files = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];
    execFileSync("nsenter", [`--net=${this.path("own")}`, "sh", "-c", script, "sh", ...files]);
    this.#inside("own", [
      `link set ${MACHINE_INTERFACE} up`,
      ...FAMILIES.map((f) => `addr add ${withPrefix(MACHINE_GATEWAY[f])} dev ${MACHINE_INTERFACE} ${nodad(f)}`),
    ]);
    this.#inside("machine", [
      "link set eth0 up",
      ...FAMILIES.map((f) => `addr add ${withPrefix(MACHINE[f])} dev eth0 ${nodad(f)}`),
      ...FAMILIES.map((f) => `route add default via ${MACHINE_GATEWAY[f]}`),
    ]);
    this.#inside(
      "outside",
      FAMILIES.map((f) => `route add ${MACHINE[f]} via ${podAddress("own", f)}`),
    );
  }

  /** Several commands in one run of ip. */
  #inside(place: Place, commands: readonly string[]): void {
    const input = commands.map((command) => `${/:/.test(command) ? "-6 " : ""}${command}`);
    for (const v6 of [false, true]) {
      const lines = input.filter((line) => line.startsWith("-6 ") === v6).map((line) => line.replace(/^-6 /, ""));
      if (lines.length === 0) continue;
      const args = ["-n", this.netns(place), ...(v6 ? ["-6"] : []), "-batch", "-"];
      execFileSync("ip", args, { input: `${lines.join("\n")}\n`, stdio: ["pipe", "pipe", "pipe"] });
    }
  }
}

function onLoopback(addresses: Readonly<Record<Family, string>>): string[] {
  return [`addr add ${addresses.v4}/32 dev lo`, `addr add ${addresses.v6}/128 dev lo nodad`];
}

function withPrefix(address: string): string {
  return `${address}/${address.includes(":") ? 64 : 24}`;
}

/** Duplicate address detection would keep the address unusable for a second. */
function nodad(family: Family): string {
  return family === "v6" ? "nodad" : "";
}
