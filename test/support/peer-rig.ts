// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { Bpffs } from "../../src/bpf/bpffs.ts";
import type { StatusReport, WorkloadStatus } from "../../src/config/formats/status.ts";
import { PinDirectory } from "../../src/intercept/ebpf/pins.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import { check } from "../../src/native/status.ts";
import { EXTERNAL, type ExternalProxy } from "./external-proxy.ts";
import { patienceMs } from "./inbox.ts";
import { ask, type Told, tellServer } from "./lab-process.ts";
import type { LabNode } from "./net-lab.ts";
import { PodPair, type Traffic } from "./pod-pair.ts";

export interface Place {
  readonly address: string;
  readonly port: number;
}

const PORTS = [80, 8080] as const;

/** A client whose outbound proxy is not Shunt's, and servers on several addresses and ports of both families. */
export async function peerPair(traffic: { readonly client?: Traffic; readonly server?: Traffic }): Promise<PodPair> {
  const pair = await PodPair.start({ mode: "ebpf", ...traffic });
  try {
    for (const address of secondAddresses(pair.lab.server))
      pair.ip(pair.lab.server, "addr", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
    // A socket on :: takes IPv4 as well.
    await pair.processes.start(tellServer("node", "::", PORTS), pair.lab.server.path);
    return pair;
  } catch (error) {
    await pair[Symbol.asyncDispose]();
    throw error;
  }
}

export const OUTBOUND_ONLY: Traffic = { proxy: EXTERNAL, inbound: { enabled: false } };
export const INBOUND_ONLY: Traffic = { proxy: EXTERNAL, outbound: { enabled: false } };

/** Where the servers are, in one family. */
export function places(pair: PodPair, family: 4 | 6): Place[] {
  const { v4, v6 } = pair.lab.server;
  const [second4 = "", second6 = ""] = secondAddresses(pair.lab.server).map((range) => range.split("/")[0] ?? "");
  return (family === 4 ? [v4, second4] : [v6, second6]).flatMap((address) => PORTS.map((port) => ({ address, port })));
}

function secondAddresses({ v4, v6 }: LabNode): readonly string[] {
  return [`${v4.replace(/\d+$/, "22")}/24`, `${v6.replace(/\d+$/, "22")}/64`];
}

export interface Asked {
  /** Where the answer came from, as the server sees it. */
  readonly reached: Place[];
  /** Where it came from, as the client sees it. */
  readonly seen: Place[];
  /** The addresses the server saw the connections come from. */
  readonly from: string[];
}

/** Asks every place with curl and Python by turns. */
export async function askAll(pair: PodPair, asked: readonly Place[]): Promise<Asked> {
  const answers: Told[] = [];
  for (const [index, { address, port }] of asked.entries())
    answers.push(await ask(index % 2 === 0 ? "curl" : "python", pair.lab.client.path, address, port));
  return {
    reached: answers.map(({ local }) => toPlace(local)),
    seen: answers.map(({ peer }) => toPlace(peer)),
    from: answers.map(({ client = "nobody" }) => unmapped(client)),
  };
}

function toPlace(told: readonly [string, number] | undefined): Place {
  const [address = "nowhere", port = 0] = told ?? [];
  return { address: unmapped(address), port };
}

/** A socket on :: tells IPv4 addresses in IPv6 form. */
function unmapped(address: string): string {
  return address.replace(/^::ffff:/, "");
}

/** What `status` says of a workload. */
export async function workloadStatus(pair: PodPair, name: "client" | "server"): Promise<WorkloadStatus> {
  const { workloads } = await pair.agent.ask<StatusReport>("status");
  const found = workloads.find((workload) => workload.name === name);
  if (!found) throw new Error(`no workload ${name} in ${JSON.stringify(workloads)}`);
  return found;
}

/** Verdicts of the client's outbound traffic so far. */
export async function outboundCounters(pair: PodPair): Promise<Readonly<Record<string, number>>> {
  return (await workloadStatus(pair, "client")).counters.outbound;
}

/** Waits until `status` says, of the server, `fits`. */
export async function serverStatus(pair: PodPair, fits: (status: WorkloadStatus) => boolean): Promise<WorkloadStatus> {
  const deadline = performance.now() + patienceMs(20_000);
  for (;;) {
    const status = await workloadStatus(pair, "server");
    if (fits(status)) return status;
    if (performance.now() > deadline) throw new Error(`status stays ${JSON.stringify(status)}`);
  }
}

/** `ADDRESS PORT` of every line of the proxy's log that tells of a connection. */
export function loggedPlaces(proxy: Pick<ExternalProxy, "logged">, pattern: RegExp): Place[] {
  return proxy.logged(pattern).map((line) => {
    const [, address = "", port = ""] = pattern.exec(line) ?? [];
    return { address, port: Number(port) };
  });
}

/** Takes the answer to SO_ORIGINAL_DST away and leaves the redirection: what remains is what the proxy knows by itself. */
export function silenceGetsockopt(pair: PodPair): void {
  using bpffs = Bpffs.open();
  const { links } = new PinDirectory(bpffs.path, pair.agent.name);
  const [pin, ...others] = readdirSync(links).filter((name) => name.startsWith("getsockopt@"));
  if (pin === undefined || others.length > 0) throw new Error(`not one getsockopt link in ${links}`);
  const link = check(loadAddon().openPinnedLink(join(links, pin)), "bpf_obj_get", pin);
  check(link.detach(), "bpf_link_detach", pin);
  link.close();
}
