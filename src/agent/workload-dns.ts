// SPDX-License-Identifier: Apache-2.0
import { basename } from "node:path";
import type { WorkloadConfig } from "../config/model.ts";
import type { DnsCounters } from "../dns/dns-counters.ts";
import { DnsForwarder } from "../dns/forwarder.ts";
import { readNameservers } from "../dns/resolv-conf.ts";
import type { Interception } from "../intercept/backend.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import {
  createDatagramLookup,
  createOriginalDestinationLookup,
  type OriginalDestinationLookup,
} from "../intercept/original-destination.ts";
import { RESOLVERS_PER_SOCKET } from "../intercept/spec.ts";
import { loadAddon } from "../native/load-addon.ts";
import type { Logger } from "../util/log.ts";
import { PROXY_MARK } from "./identity.ts";
import { datagramFd, LOOPBACK, listenerFd, reservePort } from "./listener-sockets.ts";

const DNS_PORT = 53;

/** The DNS port of a workload: its sockets, and the forwarder that answers on them; nothing when capture is off. */
export class WorkloadDns implements AsyncDisposable {
  readonly #config: WorkloadConfig;
  readonly #netns: NetworkNamespace;
  readonly #log: Logger;
  readonly #fds: { udp: number[]; moreUdp: number[]; tcp: number[] } = { udp: [], moreUdp: [], tcp: [] };
  #addresses: readonly string[] = [];
  #forwarder: DnsForwarder | undefined;
  #lookups:
    | { readonly tcp: OriginalDestinationLookup; readonly udp: OriginalDestinationLookup | undefined }
    | undefined;
  /** 0 when nothing is captured. */
  port = 0;
  /** Free ones, UDP alone, by which several resolvers asked by one socket are told apart. */
  morePorts: readonly number[] = [];
  /** Those of the workload's resolv.conf, in order. */
  resolvers: readonly string[] = [];

  constructor(config: WorkloadConfig, netns: NetworkNamespace, log: Logger) {
    this.#config = config;
    this.#netns = netns;
    this.#log = log;
  }

  get endpoints(): readonly { direction: "dns"; protocol: "tcp" | "udp"; address: string; port: number }[] {
    return this.#addresses.flatMap((address) =>
      (["udp", "tcp"] as const).map((protocol) => ({ direction: "dns" as const, protocol, address, port: this.port })),
    );
  }

  get counters(): DnsCounters | undefined {
    return this.#forwarder?.counters;
  }

  async open(): Promise<void> {
    const { dns, enabled } = this.#config.outbound;
    if (!enabled || dns.capture === "off") return;
    this.resolvers = dns.servers ?? resolversOf(this.#config, this.#netns.path);
    const addresses = this.#netns.hasIpv6() ? LOOPBACK : LOOPBACK.slice(0, 1);
    this.port = reservePort(this.#netns, dns.port, addresses, ["stream", "dgram"]);
    this.#addresses = addresses.map(({ address }) => address);
    for (const address of this.#addresses) {
      this.#fds.udp.push(datagramFd(this.#netns, address, this.port));
      this.#fds.tcp.push(listenerFd(this.#netns, address, this.port));
    }
    const morePorts: number[] = [];
    while (morePorts.length < RESOLVERS_PER_SOCKET - 1) {
      const port = reservePort(this.#netns, 0, addresses, ["dgram"]);
      for (const address of this.#addresses) this.#fds.moreUdp.push(datagramFd(this.#netns, address, port));
      morePorts.push(port);
    }
    this.morePorts = morePorts;
  }

  async start(interception: Interception): Promise<void> {
    if (this.port === 0) return;
    const source = interception.originalDestination("outbound");
    // Conntrack knows connections by their socket, and a datagram has none of its own.
    this.#lookups = { tcp: createOriginalDestinationLookup(source), udp: createDatagramLookup(source) };
    const lookups = this.#lookups;
    const { udp, moreUdp, tcp } = this.#fds;
    this.#fds.udp = [];
    this.#fds.moreUdp = [];
    this.#fds.tcp = [];
    // Conntrack tells answers apart by itself; nothing is ever sent to these ports.
    if (!lookups.udp) for (const fd of moreUdp.splice(0)) loadAddon().closeFd(fd);
    this.#forwarder = await DnsForwarder.start({
      addon: loadAddon(),
      netnsFd: this.#netns.fd,
      // With a mark of its own, a proxy that is not ours is known by that one alone.
      mark: this.#config.proxy.mark?.value ?? PROXY_MARK,
      udpFds: [...udp, ...moreUdp],
      tcpFds: tcp,
      originalResolver: (transport, client, { localPort, fd = -1 }) => {
        const local = { address: client.address.includes(":") ? "::1" : "127.0.0.1", port: localPort };
        return lookups[transport]?.({ fd, local, remote: client });
      },
      fallbackResolvers: this.resolvers.map((address) => ({ address, port: DNS_PORT })),
      onQuery: (record) => this.#log.debug({ workload: this.#config.name, ...record }, "dns query"),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const fd of Object.values(this.#fds).flat()) loadAddon().closeFd(fd);
    await this.#forwarder?.close();
    this.#lookups?.udp?.[Symbol.dispose]();
    this.#lookups?.tcp[Symbol.dispose]();
  }
}

/** `ip netns exec` shows each namespace a resolv.conf of its own; processes of a cgroup see the one we see. */
function resolversOf({ target }: WorkloadConfig, netnsPath: string): string[] {
  const owner =
    target.kind === "pid" ? { pid: target.pid } : target.kind === "netns" ? { netnsName: basename(netnsPath) } : {};
  return readNameservers(owner).map(({ address }) => address);
}
