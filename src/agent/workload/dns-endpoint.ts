// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { DnsCounters } from "../../dns/dns-counters.ts";
import { DnsForwarder } from "../../dns/forwarder.ts";
import type { DnsForwarderOptions, OriginalResolverLookup } from "../../dns/forwarder-options.ts";
import type { DnsQueryRecord } from "../../dns/query-record.ts";
import { resolverAt } from "../../intercept/dns-ports.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import {
  createDatagramLookup,
  createOriginalDestinationLookup,
  type OriginalDestinationLookup,
  type OriginalDestinationSource,
} from "../../intercept/original-destination.ts";
import { type DnsCapture, RESOLVERS_PER_SOCKET } from "../../intercept/spec.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { PROXY_MARK } from "../identity.ts";
import { datagramFd, LOOPBACK, listenerFd, reservePort } from "../listener-sockets.ts";

type UpstreamOptions = Pick<DnsForwarderOptions, "mark" | "fallbackResolvers">;

/** How an endpoint is to ask. */
export interface DnsAsking {
  /** In order. */
  readonly resolvers: readonly string[];
  readonly captured: boolean;
  readonly mark?: number | undefined;
}

const DNS_PORT = 53;
/**
 * A DNS port that is no longer wanted goes when nobody has asked there for so long. UDP sockets that were connected
 * through it have no end that could be seen, and programs may keep one for years (c-ares does).
 */
const SILENCE_MS = 60_000;

/** One DNS port of a workload: its sockets, and the forwarder that answers on them. */
export class DnsEndpoint {
  /** 0 asked for a free one. */
  readonly requested: number;
  readonly port: number;
  /** Free ones, UDP alone, by which several resolvers asked by one socket are told apart. */
  readonly morePorts: readonly number[];
  readonly addresses: readonly string[];
  readonly #netns: NetworkNamespace;
  readonly #fds: { udp: number[]; moreUdp: number[]; tcp: number[] } = { udp: [], moreUdp: [], tcp: [] };
  #capture: DnsCapture = { kind: "off" };
  #upstream: UpstreamOptions = { mark: PROXY_MARK, fallbackResolvers: [] };
  #forwarder: DnsForwarder | undefined;
  #lookups: Readonly<Record<"tcp" | "udp", readonly OriginalDestinationLookup[]>> = { tcp: [], udp: [] };
  /** Rules lead queries here as well. */
  #byPort = false;
  #silence: NodeJS.Timeout | undefined;

  /** Binds in both families; queries queue until `start`. Throws a SystemError when the port is taken. */
  constructor(netns: NetworkNamespace, requested: number) {
    this.#netns = netns;
    this.requested = requested;
    const addresses = netns.hasIpv6() ? LOOPBACK : LOOPBACK.slice(0, 1);
    this.port = reservePort(netns, requested, addresses, ["stream", "dgram"]);
    this.addresses = addresses.map(({ address }) => address);
    try {
      for (const address of this.addresses) {
        this.#fds.udp.push(datagramFd(netns, address, this.port));
        this.#fds.tcp.push(listenerFd(netns, address, this.port));
      }
      const morePorts: number[] = [];
      while (morePorts.length < RESOLVERS_PER_SOCKET - 1) {
        const port = reservePort(netns, 0, addresses, ["dgram"]);
        for (const address of this.addresses) this.#fds.moreUdp.push(datagramFd(netns, address, port));
        morePorts.push(port);
      }
      this.morePorts = morePorts;
    } catch (error) {
      this.#closeSockets();
      throw error;
    }
  }

  get counters(): DnsCounters | undefined {
    return this.#forwarder?.counters;
  }

  fits(port: number): boolean {
    return port === 0 ? this.requested === 0 : port === this.port;
  }

  /**
   * Whom to ask when it is not known whom a query was meant for, and the mark of the sockets that ask. `captured`: queries
   * to these alone come here.
   */
  askBy({ resolvers, captured, mark = PROXY_MARK }: DnsAsking): void {
    const ports = { port: this.port, morePorts: this.morePorts };
    this.#capture = captured ? { kind: "servers", servers: resolvers, ...ports } : { kind: "all", ...ports };
    this.#upstream = { mark, fallbackResolvers: resolvers.map((address) => ({ address, port: DNS_PORT })) };
    this.#forwarder?.configure(this.#upstream);
  }

  async start(
    originals: readonly OriginalDestinationSource[],
    onQuery: (record: DnsQueryRecord) => void,
  ): Promise<void> {
    this.lookUpIn(originals);
    const { udp, moreUdp, tcp } = this.#fds;
    this.#fds.udp = [];
    this.#fds.moreUdp = [];
    this.#fds.tcp = [];
    this.#forwarder = await DnsForwarder.start({
      addon: loadAddon(),
      netnsFd: this.#netns.fd,
      ...this.#upstream,
      udpFds: [...udp, ...moreUdp],
      tcpFds: tcp,
      originalResolver: (transport, client, { localPort, fd = -1 }) => {
        const family = client.address.includes(":") ? 6 : 4;
        const local = { address: family === 6 ? "::1" : "127.0.0.1", port: localPort };
        for (const lookup of this.#lookups[transport]) {
          const found = lookup({ fd, local, remote: client });
          if (found !== undefined) return found;
        }
        return transport === "udp" && this.#byPort ? this.#resolverAt(family, localPort) : undefined;
      },
      onQuery,
    });
  }

  /** Where the resolver that a query was meant for is remembered, asked in order. */
  lookUpIn(originals: readonly OriginalDestinationSource[]): void {
    const before = this.#lookups;
    this.#lookups = {
      tcp: originals.map(createOriginalDestinationLookup),
      udp: originals.map(createDatagramLookup).filter((lookup) => lookup !== undefined),
    };
    this.#byPort = originals.some(({ kind }) => kind === "conntrack");
    for (const lookup of [...before.tcp, ...before.udp]) lookup[Symbol.dispose]();
  }

  /** Conntrack knows connections by their socket, and a datagram has none of its own: only the port it came to tells. */
  #resolverAt(family: 4 | 6, localPort: number): ReturnType<OriginalResolverLookup> {
    const address = resolverAt(this.#capture, family, localPort);
    return address === undefined ? undefined : { address, port: DNS_PORT };
  }

  /** It is wanted again. */
  keep(): void {
    clearInterval(this.#silence);
    this.#silence = undefined;
  }

  /** Not wanted any more: goes on answering who still asks here. */
  retire(onGone: () => void): void {
    if (this.#silence) return;
    let before = this.counters;
    this.#silence = setInterval(() => {
      const now = this.counters;
      if (!isDeepStrictEqual(now, before) || (now?.activeQueries ?? 0) > 0) {
        before = now;
        return;
      }
      onGone();
      void this.close();
    }, SILENCE_MS).unref();
  }

  async close(): Promise<void> {
    this.keep();
    this.#closeSockets();
    await this.#forwarder?.close();
    this.#forwarder = undefined;
    this.lookUpIn([]);
  }

  #closeSockets(): void {
    for (const fds of Object.values(this.#fds)) for (const fd of fds.splice(0)) loadAddon().closeFd(fd);
  }
}
