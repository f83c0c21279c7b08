// SPDX-License-Identifier: Apache-2.0
import type { Interception } from "../intercept/backend.ts";
import { type TakenListener, takeListeners } from "../intercept/external-listeners.ts";
import { type ListeningSocket, ListeningSockets } from "../intercept/listening-sockets.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { loadAddon } from "../native/load-addon.ts";
import type { Logger } from "../util/log.ts";
import { ListenerPlaces } from "./listener-places.ts";

/** How often the namespace is asked who listens. */
const LOOK_INTERVAL_MS = 500;
/** Looks that are left out after one that failed: searching the descriptors of all processes costs more. */
const LOOKS_LEFT_OUT = 9;

/** Addresses of a listener that is meant for redirected connections. */
const PROXY_ADDRESSES: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "0.0.0.0", "::"]);

interface Ports {
  readonly outboundPort: number;
  readonly inboundPort: number;
}

export interface ExternalEndpoint {
  readonly direction: "outbound" | "inbound";
  readonly address: string;
  readonly port: number;
}

/**
 * The listeners of a proxy that is not ours, in one workload's namespace. Those of the inbound port are handed to
 * sk_lookup when they appear: the proxy may start after the agent, restart, or add workers. A closed one leaves the
 * kernel's map by itself, for no descriptor of it is kept here.
 */
export class ExternalListeners implements Disposable {
  readonly #table: ListeningSockets;
  readonly #netns: NetworkNamespace;
  readonly #ports: Partial<Ports>;
  readonly #log: Logger;
  readonly #places = new ListenerPlaces();
  #timer: NodeJS.Timeout | undefined;
  #interception: Interception | undefined;
  #failure: string | undefined;
  #leaveOut = 0;

  /** A port that is absent is that of a direction which is off. */
  constructor(netns: NetworkNamespace, ports: Partial<Ports>, log: Logger) {
    this.#netns = netns;
    this.#ports = ports;
    this.#log = log;
    this.#table = new ListeningSockets(netns);
  }

  /** Hands the inbound listeners to `interception`, now and whenever they change. */
  watch(interception: Interception): void {
    this.#interception = interception;
    this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_INTERVAL_MS).unref();
  }

  /** What listens now. */
  get endpoints(): readonly ExternalEndpoint[] {
    return [...this.#on("outbound"), ...this.#on("inbound")];
  }

  /** What is wrong with the proxy's side, in words; undefined when connections are taken. */
  get problem(): string | undefined {
    if (this.#failure !== undefined) return this.#failure;
    const silent = (["outbound", "inbound"] as const).find(
      (direction) => this.#port(direction) !== undefined && this.#on(direction).length === 0,
    );
    if (silent === undefined) return undefined;
    return `${silent}: no proxy listens on port ${this.#port(silent)} in ${this.#netns.path}`;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#table[Symbol.dispose]();
  }

  #look(): void {
    if (this.#leaveOut > 0) {
      this.#leaveOut--;
      return;
    }
    const sockets = this.#sockets("inbound");
    const before = this.#failure;
    try {
      this.#adopt(sockets);
    } catch (error) {
      this.#failure = `inbound: ${(error as Error).message}`;
    }
    if (this.#failure === undefined) return;
    this.#leaveOut = LOOKS_LEFT_OUT;
    if (this.#failure !== before) this.#log.warn({ netns: this.#netns.path }, this.#failure);
  }

  #adopt(sockets: readonly ListeningSocket[]): void {
    this.#places.retain(new Set(sockets.map(({ inode }) => inode)));
    const added = sockets.filter(({ inode }) => !this.#places.knows(inode));
    this.#failure = undefined;
    if (added.length === 0) return;
    const { listeners, failure } = takeListeners(this.#netns, added);
    try {
      for (const listener of listeners) this.#place(listener);
    } finally {
      for (const { fd } of listeners) loadAddon().closeFd(fd);
    }
    const pids = [...new Set(listeners.map(({ pid }) => pid))];
    if (pids.length > 0)
      this.#log.info({ netns: this.#netns.path, pids, sockets: listeners.length }, "inbound listeners found");
    // One that closes while it is looked for is no failure.
    const lost = failure && this.#sockets("inbound").some(({ inode }) => !this.#places.knows(inode));
    if (lost) this.#failure = `inbound: ${failure.message}`;
  }

  #place({ socket, fd, pid, families }: TakenListener): void {
    try {
      for (const place of this.#places.give(socket.inode, pid, families))
        this.#interception?.setInboundListener({ ...place, fd });
    } catch (error) {
      this.#places.withdraw(socket.inode);
      throw error;
    }
  }

  /** An inbound listener counts when sk_lookup has it. */
  #on(direction: "outbound" | "inbound"): ExternalEndpoint[] {
    const lookedUp = direction === "inbound" && this.#interception !== undefined;
    const sockets = this.#sockets(direction).filter(({ inode }) => !lookedUp || this.#places.holds(inode));
    const addresses = new Set(sockets.map(({ address }) => address));
    return [...addresses].map((address) => ({ direction, address, port: this.#port(direction) ?? 0 }));
  }

  #sockets(direction: "outbound" | "inbound"): ListeningSocket[] {
    const port = this.#port(direction);
    if (port === undefined) return [];
    return this.#table.onPort(port).filter(({ address }) => PROXY_ADDRESSES.has(address));
  }

  #port(direction: "outbound" | "inbound"): number | undefined {
    return direction === "outbound" ? this.#ports.outboundPort : this.#ports.inboundPort;
  }
}
