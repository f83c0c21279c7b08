// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../../config/model.ts";
import type { Direction, InboundListener } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { ANY, type ListenerAddress, LOOPBACK } from "../listener-sockets.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";
import { type GroupRequest, ListenerGroup, type ListenerRoute } from "./listener-group.ts";

/** The listeners of one configuration, by direction. */
export type ListenerSet = ReadonlyMap<Direction, ListenerGroup>;

/**
 * The proxy's listeners of one workload: those that interception leads to, and those that it led to before. With a proxy
 * that is not ours there are none: the ports are that proxy's.
 */
export class ProxyListeners {
  readonly #netns: NetworkNamespace;
  readonly #pool: WorkerPool;
  readonly #onReplacement: (socket: InboundListener) => void;
  #current: ListenerSet = new Map();
  readonly #retired = new Set<ListenerGroup>();

  /** `onReplacement`: a lost worker's inbound socket has been made anew, and sk_lookup must know it. */
  constructor(netns: NetworkNamespace, pool: WorkerPool, onReplacement: (socket: InboundListener) => void) {
    this.#netns = netns;
    this.#pool = pool;
    this.#onReplacement = onReplacement;
  }

  get current(): ListenerSet {
    return this.#current;
  }

  get endpoints(): readonly { readonly direction: Direction; readonly address: string; readonly port: number }[] {
    return [...this.#current].flatMap(([direction, { port, request }]) =>
      request.addresses.map(({ address }) => ({ direction, address, port })),
    );
  }

  /**
   * Listens where `config` wants it and nobody does yet. `anywhere`: inbound on every address, for rules lead there, and
   * not to loopback. Throws a SystemError when a port is taken; then nothing has changed.
   */
  open(config: WorkloadConfig, anywhere: boolean): ListenerSet {
    const loopback = this.#netns.hasIpv6() ? LOOPBACK : LOOPBACK.slice(0, 1);
    const set = new Map<Direction, ListenerGroup>();
    try {
      for (const direction of wanted(config)) {
        const everywhere = direction === "inbound" && anywhere;
        const addresses = everywhere ? ANY.slice(0, loopback.length) : loopback;
        set.set(direction, this.#group(config, { direction, port: config[direction].port, addresses }));
      }
      return set;
    } catch (error) {
      for (const group of set.values()) if (!this.#knows(group)) group.settle();
      throw error;
    }
  }

  /** The same set with inbound on every address, or on loopback; the group it had, if it is not in use, is closed. */
  async moveInbound(config: WorkloadConfig, set: ListenerSet, anywhere: boolean): Promise<ListenerSet> {
    const before = set.get("inbound");
    const addresses = (anywhere ? ANY : LOOPBACK).slice(0, before?.request.addresses.length);
    if (!before || sameAddresses(before.request.addresses, addresses)) return set;
    const group = this.#make(config, { direction: "inbound", port: before.port, addresses, reserved: true });
    if (!this.#knows(before)) await before.close();
    return new Map([...set, ["inbound", group]]);
  }

  /** Has the new ones of the set accept. */
  async start(set: ListenerSet, routeOf: (direction: Direction) => ListenerRoute): Promise<void> {
    for (const [direction, group] of set) if (!this.#knows(group)) await group.start(routeOf(direction));
  }

  /** The set is what interception leads to from now on; the others retire. */
  adopt(set: ListenerSet): void {
    for (const group of set.values()) {
      group.settle();
      group.keep();
      this.#retired.delete(group);
    }
    for (const group of this.#current.values()) {
      if (set.get(group.request.direction) === group) continue;
      this.#retired.add(group);
      group.retire(() => this.#retired.delete(group));
    }
    this.#current = set;
  }

  /** Connections of all the listeners there are get the timeouts, those to come what else is new. */
  async update(routeOf: (direction: Direction) => ListenerRoute): Promise<void> {
    for (const group of this.#all()) if (group.accepts) await group.update(routeOf(group.request.direction));
  }

  /** Inbound sockets of the set that interception does not lead to yet: new ones, or those of a group that comes back. */
  toHandOver(set: ListenerSet): readonly InboundListener[] {
    const group = set.get("inbound");
    return group === undefined || group === this.#current.get("inbound") ? [] : group.hold();
  }

  /** Closes what of the set has never been adopted. */
  async discard(set: ListenerSet): Promise<void> {
    for (const group of set.values()) {
      if (this.#knows(group)) group.settle();
      else await group.close();
    }
  }

  /** Ports on which connections may still come, with those of `set`. */
  portsWith(set: ListenerSet): number[] {
    return [...new Set([...this.#all().filter(({ accepts }) => accepts), ...set.values()].map(({ port }) => port))];
  }

  /** Connections that came by listeners of this workload, whatever it was called then. */
  connections(directions: ReadonlySet<string>): OpenConnection[] {
    const names = new Set(this.#all().flatMap((group) => group.names));
    return this.#pool
      .connections()
      .filter(({ listener, direction }) => names.has(listener) && directions.has(direction));
  }

  /** Resets what is left. */
  async close(): Promise<void> {
    const all = this.#all();
    this.#current = new Map();
    this.#retired.clear();
    await Promise.all(all.map((group) => group.close()));
  }

  #group(config: WorkloadConfig, request: GroupRequest): ListenerGroup {
    const fitting = this.#all().find((group) => group.accepts && group.fits(request));
    return fitting ?? this.#make(config, { ...request, reserved: this.#isOwnElsewhere(request) });
  }

  #make(config: WorkloadConfig, request: GroupRequest): ListenerGroup {
    const onReplacement = (socket: InboundListener): void => {
      if (request.direction === "inbound") this.#onReplacement(socket);
    };
    return new ListenerGroup({ workload: config.name, netns: this.#netns, pool: this.#pool, onReplacement }, request);
  }

  /** Loopback beside every address: the kernel tells them apart, and both are ours. */
  #isOwnElsewhere({ direction, port, addresses }: GroupRequest): boolean {
    return this.#all().some(
      ({ accepts, port: taken, request }) =>
        accepts && request.direction === direction && taken === port && !sameAddresses(request.addresses, addresses),
    );
  }

  #knows(group: ListenerGroup): boolean {
    return this.#all().includes(group);
  }

  #all(): ListenerGroup[] {
    return [...this.#current.values(), ...this.#retired];
  }
}

function sameAddresses(a: readonly ListenerAddress[], b: readonly ListenerAddress[]): boolean {
  return a[0]?.address === b[0]?.address;
}

function wanted({ outbound, inbound, proxy }: WorkloadConfig): Direction[] {
  if (proxy.external) return [];
  return [...(outbound.enabled ? (["outbound"] as const) : []), ...(inbound.enabled ? (["inbound"] as const) : [])];
}
