// SPDX-License-Identifier: Apache-2.0
import type { Direction, InboundListener } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { findOwnSocket, inodeOf, type ListenerAddress, listenerFd, reservePort } from "../listener-sockets.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";
import type { WorkerListener } from "../workers/worker-protocol.ts";
import { LINGER_MS } from "./workload-context.ts";

/** What a listener does with connections; may change while it listens. */
export type ListenerRoute = Omit<WorkerListener, "name" | "direction" | "netnsFd">;

export interface GroupRequest {
  readonly direction: Direction;
  /** 0 asks for a free one. */
  readonly port: number;
  readonly addresses: readonly ListenerAddress[];
  /** Takes connections to addresses that are not its own. */
  readonly transparent: boolean;
  /** The port is this workload's already, on other addresses. */
  readonly reserved?: boolean;
}

export interface GroupHost {
  readonly workload: string;
  readonly netns: NetworkNamespace;
  readonly pool: WorkerPool;
  /** Hears of sockets made for workers that replace lost ones. */
  readonly onReplacement: (socket: InboundListener) => void;
}

let made = 0;

/**
 * The proxy's listeners for one direction on one port: for each address a reuseport group with a socket for every
 * worker. It listens from the constructor on, and connections queue until `start`.
 */
export class ListenerGroup {
  readonly request: GroupRequest;
  readonly port: number;
  readonly #netns: NetworkNamespace;
  readonly #pool: WorkerPool;
  readonly #onReplacement: (socket: InboundListener) => void;
  /** Ours until `settle`, so that the interception can be given them; the workers have duplicates. */
  readonly #sockets: InboundListener[] = [];
  /** Of the socket of each family and worker. */
  readonly #inodes = new Map<string, number | undefined>();
  #settled = false;
  /** Names in the pool, and the address family of each. */
  readonly #names = new Map<string, ListenerAddress>();
  /** Those that accept. */
  readonly #started = new Set<string>();
  #lingering: NodeJS.Timeout | undefined;
  #retired = false;

  /** Throws a SystemError (EADDRINUSE) when the port is taken. */
  constructor(host: GroupHost, request: GroupRequest) {
    const { workload, netns, pool, onReplacement } = host;
    const { direction, addresses } = request;
    this.request = request;
    this.#netns = netns;
    this.#pool = pool;
    this.#onReplacement = onReplacement;
    this.port = request.reserved ? request.port : reservePort(netns, request.port, addresses);
    try {
      for (const address of addresses) {
        this.#names.set(`${workload}/${direction}/${address.family}#${++made}`, address);
        for (let index = 0; index < pool.size; index++) {
          const fd = listenerFd(netns, address.address, this.port, request.transparent);
          this.#sockets.push({ family: address.family, index, fd });
          this.#inodes.set(`${address.family}/${index}`, inodeOf(fd));
        }
      }
    } catch (error) {
      this.settle();
      throw error;
    }
  }

  get names(): readonly string[] {
    return [...this.#names.keys()];
  }

  /** False once it only waits for its last connections. */
  get accepts(): boolean {
    return !this.#retired || this.#lingering !== undefined;
  }

  get started(): boolean {
    return this.#started.size > 0;
  }

  /** The sockets, to be handed on before `settle`. Main keeps none: a lost worker's are to close with it. */
  hold(): readonly InboundListener[] {
    if (this.#sockets.length > 0) return this.#sockets;
    for (const [key, inode] of this.#inodes) {
      const fd = inode === undefined ? undefined : findOwnSocket(inode);
      const [family, index] = key.split("/").map(Number);
      if (fd !== undefined) this.#sockets.push({ family: family === 4 ? 4 : 6, index: index ?? 0, fd });
    }
    return this.#sockets;
  }

  fits({ direction, port, addresses, transparent }: GroupRequest): boolean {
    if (transparent !== this.request.transparent) return false;
    if (direction !== this.request.direction || addresses.length !== this.request.addresses.length) return false;
    if (addresses.some(({ address }, index) => address !== this.request.addresses[index]?.address)) return false;
    return port === 0 ? this.request.port === 0 : port === this.port;
  }

  /** Has the workers accept, if they do not already. */
  async start(route: ListenerRoute): Promise<void> {
    for (const [name, { family, address }] of this.#names) {
      if (this.#started.has(name)) continue;
      const { direction } = this.request;
      await this.#pool.addListener({
        listener: { ...route, name, direction, netnsFd: this.#netns.fd },
        makeListenerFd: (index) => this.#socketFor(family, address, index),
      });
      this.#started.add(name);
    }
  }

  async update(route: ListenerRoute): Promise<void> {
    for (const name of this.#started) await this.#pool.updateListener(name, route);
  }

  /** The interception has the sockets it needs. */
  settle(): void {
    this.#settled = true;
    for (const { fd } of this.#sockets.splice(0)) loadAddon().closeFd(fd);
  }

  /** It is what the interception leads to again, or goes on being that. */
  keep(): void {
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    this.#retired = false;
  }

  /**
   * The interception leads elsewhere: accepts for a while what is on its way, then no more, and its connections go on
   * until they end. `keep` takes it back as long as it accepts.
   */
  retire(onDrained: () => void): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#lingering = setTimeout(() => {
      this.#lingering = undefined;
      void this.#close(Number.POSITIVE_INFINITY).then(onDrained, onDrained);
    }, LINGER_MS).unref();
  }

  /** Closes the listeners and resets what they carry, also what is left of an earlier end. */
  async close(): Promise<void> {
    this.#retired = true;
    clearTimeout(this.#lingering);
    this.#lingering = undefined;
    await this.#close(0);
  }

  async #close(drainMs: number): Promise<void> {
    this.settle();
    const removal = async (name: string): Promise<void> => {
      await this.#pool.removeListener(name, { drainMs });
      this.#started.delete(name);
    };
    await Promise.all([...this.#started].map(removal));
  }

  #socketFor(family: 4 | 6, address: string, index: number): number {
    const held = this.#sockets.find((socket) => socket.family === family && socket.index === index);
    if (held && !this.#settled)
      return check(loadAddon().duplicate(held.fd), "dup", `listener on ${address} port ${this.port}`);
    const fd = listenerFd(this.#netns, address, this.port, this.request.transparent);
    this.#inodes.set(`${family}/${index}`, inodeOf(fd));
    if (!this.#retired) this.#onReplacement({ family, index, fd });
    return fd;
  }
}
