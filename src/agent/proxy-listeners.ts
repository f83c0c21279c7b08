// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../config/model.ts";
import type { InboundListener, Interception } from "../intercept/backend.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { loadAddon } from "../native/load-addon.ts";
import { PRESERVE_MARK, PROXY_MARK } from "./identity.ts";
import { ANY, type ListenerAddress, LOOPBACK, listenerFd, reservePort } from "./listener-sockets.ts";
import type { WorkerPool } from "./worker-pool.ts";

export interface ProxyTimeouts {
  readonly connectTimeoutMs: number;
  /** 0: never. */
  readonly idleTimeoutMs: number;
}

type Direction = "outbound" | "inbound";

/**
 * The proxy's listeners of one workload, every one of them a reuseport group with a socket for each worker. With a
 * proxy that is not ours there are none: the ports are that proxy's.
 */
export class ProxyListeners implements AsyncDisposable {
  readonly #netns: NetworkNamespace;
  readonly #pool: WorkerPool;
  readonly #names: string[] = [];
  #config: WorkloadConfig;
  #timeouts: ProxyTimeouts;
  /** Sockets that wait for `start`: connections queue in them, so that none is refused in between. */
  readonly #waiting = new Map<string, number[]>();
  #addresses: readonly ListenerAddress[] = LOOPBACK;
  #inboundAddresses: readonly ListenerAddress[] = LOOPBACK;
  #ports = { outboundPort: 0, inboundPort: 0 };

  constructor(config: WorkloadConfig, netns: NetworkNamespace, pool: WorkerPool, timeouts: ProxyTimeouts) {
    this.#config = config;
    this.#netns = netns;
    this.#pool = pool;
    this.#timeouts = timeouts;
  }

  get ports(): { readonly outboundPort: number; readonly inboundPort: number } {
    return this.#ports;
  }

  /** `address:port` of every listener, for `status`. */
  get endpoints(): readonly { readonly direction: Direction; readonly address: string; readonly port: number }[] {
    return this.#directions().flatMap((direction) =>
      this.#addressesOf(direction).map(({ address }) => ({ direction, address, port: this.#port(direction) })),
    );
  }

  /** Chooses the ports and listens on them. Throws when one is taken. */
  open(): void {
    const { outbound, inbound, proxy } = this.#config;
    if (!this.#netns.hasIpv6()) this.#addresses = LOOPBACK.slice(0, 1);
    this.#inboundAddresses = this.#addresses;
    if (proxy.external) {
      this.#ports = { outboundPort: outbound.port, inboundPort: inbound.port };
      return;
    }
    this.#ports = {
      outboundPort: outbound.enabled ? reservePort(this.#netns, outbound.port, this.#addresses) : 0,
      inboundPort: inbound.enabled ? reservePort(this.#netns, inbound.port, this.#addresses) : 0,
    };
    for (const direction of this.#directions()) this.#listen(direction);
  }

  /** Rules lead inbound connections to whatever address they came to, not to loopback. */
  listenOnAnyAddressInbound(): void {
    for (const { family } of this.#inboundAddresses) this.#closeWaiting(this.#name("inbound", family));
    this.#inboundAddresses = ANY.slice(0, this.#addresses.length);
    if (this.#directions().includes("inbound")) this.#listen("inbound");
  }

  /** The sockets that take inbound connections from the first moment on. */
  get inbound(): readonly InboundListener[] {
    return this.#inboundAddresses.flatMap(({ family }) =>
      (this.#waiting.get(this.#name("inbound", family)) ?? []).map((fd, index) => ({ family, index, fd })),
    );
  }

  /** Has the workers accept; the interception learns of inbound sockets that replace those of a lost worker. */
  async start(interception: Interception): Promise<void> {
    for (const direction of this.#directions()) {
      for (const { family, address } of this.#addressesOf(direction))
        await this.#add(direction, family, address, interception);
    }
  }

  /** Timeouts change for the listeners that are there. */
  async update(config: WorkloadConfig, timeouts: ProxyTimeouts): Promise<void> {
    this.#config = config;
    this.#timeouts = timeouts;
    for (const name of this.#names) await this.#pool.updateListener(name, timeouts);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#waiting.keys()]) this.#closeWaiting(name);
    await Promise.all(this.#names.splice(0).map((name) => this.#pool.removeListener(name, { drainMs: 0 })));
  }

  async #add(direction: Direction, family: 4 | 6, address: string, interception: Interception): Promise<void> {
    const name = this.#name(direction, family);
    const preserve = direction === "inbound" && this.#config.inbound.preserveSource;
    const ownFlows = preserve ? interception.ownFlows() : undefined;
    await this.#pool.addListener({
      listener: {
        name,
        workload: this.#config.name,
        direction,
        netnsFd: this.#netns.fd,
        mark: preserve ? PRESERVE_MARK : PROXY_MARK,
        source: direction === "outbound" ? { kind: "local" } : { kind: preserve ? "preserve" : "passthrough" },
        ownPorts: Object.values(this.#ports).filter((port) => port !== 0),
        originals: interception.originalDestination(direction),
        ...(ownFlows === undefined ? {} : { ownFlows }),
        ...this.#timeouts,
      },
      makeListenerFd: (index) => {
        const waiting = this.#waiting.get(name)?.shift();
        if (waiting !== undefined) return waiting;
        const fd = listenerFd(this.#netns, address, this.#port(direction));
        if (direction === "inbound") interception.setInboundListener({ family, index, fd });
        return fd;
      },
    });
    this.#names.push(name);
  }

  #listen(direction: Direction): void {
    for (const { family, address } of this.#addressesOf(direction)) {
      const fds: number[] = [];
      this.#waiting.set(this.#name(direction, family), fds);
      for (let worker = 0; worker < this.#pool.size; worker++)
        fds.push(listenerFd(this.#netns, address, this.#port(direction)));
    }
  }

  #closeWaiting(name: string): void {
    for (const fd of this.#waiting.get(name) ?? []) loadAddon().closeFd(fd);
    this.#waiting.delete(name);
  }

  #name(direction: Direction, family: 4 | 6): string {
    return `${this.#config.name}/${direction}/${family}`;
  }

  #directions(): Direction[] {
    const { outbound, inbound, proxy } = this.#config;
    if (proxy.external) return [];
    return [...(outbound.enabled ? (["outbound"] as const) : []), ...(inbound.enabled ? (["inbound"] as const) : [])];
  }

  #addressesOf(direction: Direction): readonly ListenerAddress[] {
    return direction === "inbound" ? this.#inboundAddresses : this.#addresses;
  }

  #port(direction: Direction): number {
    return direction === "inbound" ? this.#ports.inboundPort : this.#ports.outboundPort;
  }
}
