// SPDX-License-Identifier: Apache-2.0
import { execFile } from "node:child_process";
import dgram from "node:dgram";
import { closeSync, openSync } from "node:fs";
import { Socket } from "node:net";
import dnsPacket from "dns-packet";
import { DnsForwarder } from "../../src/dns/forwarder.ts";
import type { DnsForwarderOptions } from "../../src/dns/forwarder-options.ts";
import type { DnsQueryRecord } from "../../src/dns/query-record.ts";
import { iptablesBackend } from "../../src/intercept/iptables/backend.ts";
import type { DnsCapture } from "../../src/intercept/spec.ts";
import { loadAddon } from "../../src/native/load-addon.ts";
import { anOutbound, aSpec, MARK } from "../unit/intercept/iptables/iptables-specs.ts";
import { TestDnsServer } from "./dns-server.ts";
import { NetLab } from "./net-lab.ts";

export const PORT = 15053;
/** Limits that make a test of silence short. */
export const SHORT = { tryTimeoutMs: 150, tcpTimeoutMs: 400, attempts: 2 };
const addon = loadAddon();

/** A DNS server in one namespace; a forwarder and its clients in the other. */
export class DnsRig implements AsyncDisposable {
  readonly lab: NetLab;
  readonly netns: number;
  readonly upstream: TestDnsServer;
  readonly records: DnsQueryRecord[] = [];
  #forwarder: DnsForwarder | undefined;

  private constructor(lab: NetLab, upstream: TestDnsServer) {
    this.lab = lab;
    this.netns = openSync(lab.client.path, "r");
    this.upstream = upstream;
  }

  static async create(): Promise<DnsRig> {
    const lab = new NetLab("dns");
    try {
      return new DnsRig(lab, await TestDnsServer.start(lab.server.path, [lab.server.v4, lab.server.v6]));
    } catch (error) {
      lab[Symbol.dispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#forwarder?.close();
    this.upstream[Symbol.dispose]();
    closeSync(this.netns);
    this.lab[Symbol.dispose]();
  }

  get forwarder(): DnsForwarder {
    if (!this.#forwarder) throw new Error("the forwarder is not started");
    return this.#forwarder;
  }

  async start(options: Partial<DnsForwarderOptions> = {}): Promise<void> {
    const listen = (address: string, type: "dgram" | "stream"): number => {
      const fd = addon.listen({
        address,
        port: PORT,
        type,
        netns: this.netns,
        reuseAddress: type === "stream",
        v6only: address === "::1",
      });
      if (fd < 0) throw new Error(`${address} ${type}: ${fd}`);
      return fd;
    };
    this.#forwarder = await DnsForwarder.start({
      addon,
      netnsFd: this.netns,
      mark: MARK.value,
      udpFds: [listen("127.0.0.1", "dgram"), listen("::1", "dgram")],
      tcpFds: [listen("127.0.0.1", "stream"), listen("::1", "stream")],
      fallbackResolvers: [{ address: this.lab.server.v4, port: 53 }],
      limits: SHORT,
      onQuery: (record) => this.records.push(record),
      ...options,
    });
  }

  capture(dns: DnsCapture): ReturnType<typeof iptablesBackend.apply> {
    const spec = aSpec({
      target: { kind: "netns", path: this.lab.client.path },
      outbound: anOutbound({ includeCidrs: [], dns }),
    });
    return iptablesBackend.apply(spec);
  }

  dig(...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(
        "nsenter",
        [`--net=${this.lab.client.path}`, "dig", "+tries=1", "+time=4", ...args],
        { timeout: 30_000 },
        (error, stdout) => {
          if (error && error.code !== 9) reject(error);
          else resolve(stdout);
        },
      );
    });
  }

  /** Sends raw bytes to the forwarder over UDP and gives the answers that come until there are `count`. */
  async datagrams(count: number, ...queries: Buffer[]): Promise<Buffer[]> {
    const fd = addon.listen({ address: "127.0.0.1", port: 0, type: "dgram", netns: this.netns });
    const socket = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    const received: Buffer[] = [];
    try {
      const all = new Promise<void>((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`${received.length} of ${count} answers`)), 10_000);
        socket.on("message", (bytes) => {
          received.push(bytes);
          if (received.length < count) return;
          clearTimeout(deadline);
          resolve();
        });
      });
      for (const query of queries) socket.send(query, PORT, "127.0.0.1");
      await all;
    } finally {
      socket.close();
    }
    return received;
  }

  async tcpConnection(): Promise<Socket> {
    const fd = addon.bindSocket({ address: "127.0.0.1", port: PORT, netns: this.netns });
    const status = await new Promise<number>((resolve) => {
      addon.connectSocket(fd, "127.0.0.1", PORT, resolve);
    });
    if (status < 0) throw new Error(`connect: ${status}`);
    return new Socket({ fd, readable: true, writable: true });
  }
}

/** An encoded query. */
export function question(
  name: string,
  options: { id?: number; edns?: number; type?: "A" | "TXT" | "AXFR" } = {},
): Buffer {
  const opt = {
    type: "OPT" as const,
    name: ".",
    udpPayloadSize: options.edns ?? 0,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
  return dnsPacket.encode({
    type: "query",
    id: options.id ?? 77,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: options.type ?? "A", name }],
    additionals: options.edns === undefined ? [] : [opt],
  });
}
