// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../../config/model.ts";
import type { Direction, InboundListener } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { ANY, LOOPBACK, type Reach } from "../listener-sockets.ts";
import type { WorkerPool } from "../workers/worker-pool.ts";
import { type GroupRequest, ListenerGroup, type ListenerRoute } from "./listener-group.ts";

/** By what addresses the listeners of each direction are reached. */
export type Reaches = Readonly<Record<Direction, Reach>>;

type Place = Pick<GroupRequest, "addresses" | "transparent">;

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

  /** Listens where `config` wants it and nobody does yet. Throws a SystemError when a port is taken; then nothing has changed. */
  open(config: WorkloadConfig, reaches: Reaches): ListenerSet {
    const set = new Map<Direction, ListenerGroup>();
    try {
      for (const direction of wanted(config)) {
        const place = this.#placeFor(direction, reaches[direction]);
        set.set(direction, this.#group(config, { direction, port: config[direction].port, ...place }));
      }
      return set;
    } catch (error) {
      for (const group of set.values()) this.#giveUp(group);
      throw error;
    }
  }

  /**
   * The same set reached otherwise, on the same ports. A group it had, if it is not in use, retires: interception may have
   * been given it. One that does not accept yet would keep connections waiting, and closes.
   */
  async move(config: WorkloadConfig, set: ListenerSet, reaches: Partial<Reaches>): Promise<ListenerSet> {
    let moved = set;
    for (const [direction, before] of set) {
      const reach = reaches[direction];
      const place = reach && this.#placeFor(direction, reach);
      if (!place || isAt(before.request, place)) continue;
      const group = this.#make(config, { direction, port: before.port, ...place, reserved: true });
      moved = new Map([...moved, [direction, group]]);
      if (this.#knows(before)) continue;
      if (before.started) this.#retire(before);
      else await before.close();
    }
    return moved;
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
      if (set.get(group.request.direction) !== group) this.#retire(group);
    }
    this.#current = set;
  }

  /** Connections of all the listeners there are get the timeouts, those to come what else is new. */
  async update(routeOf: (direction: Direction) => ListenerRoute): Promise<void> {
    for (const group of this.#all()) if (group.accepts) await group.update(routeOf(group.request.direction));
  }

  /** Inbound sockets of the set. */
  toHandOver(set: ListenerSet): readonly InboundListener[] {
    return set.get("inbound")?.hold() ?? [];
  }

  /** Whether interception leads to them already: they are neither new nor those of a group that comes back. */
  leadsInboundTo(set: ListenerSet): boolean {
    return set.get("inbound") === this.#current.get("inbound");
  }

  /** Closes what of the set has never been adopted. */
  async discard(set: ListenerSet): Promise<void> {
    for (const group of set.values()) {
      if (!this.#knows(group)) await group.close();
      else this.#giveUp(group);
    }
  }

  /** Ports on which connections may still come, with those of `set`. */
  portsWith(set: ListenerSet): number[] {
    return [...new Set([...this.#all().filter(({ accepts }) => accepts), ...set.values()].map(({ port }) => port))];
  }

  /** Connections that came by listeners of this workload, whatever it was called then. */
  connections(): OpenConnection[] {
    const names = new Set(this.#all().flatMap((group) => group.names));
    return this.#pool.connections().filter(({ listener }) => names.has(listener));
  }

  /** Resets what is left. */
  async close(): Promise<void> {
    const all = this.#all();
    this.#current = new Map();
    this.#retired.clear();
    await Promise.all(all.map((group) => group.close()));
  }

  /**
   * sk_lookup asks for no transparent socket, but gets one: in the reuseport group that it and TPROXY share while one
   * takes over from the other, TPROXY would drop what falls to a socket that is not (net/netfilter/xt_TPROXY.c).
   */
  #placeFor(direction: Direction, reach: Reach): Place {
    const addresses = (reach === "any" ? ANY : LOOPBACK).slice(0, this.#netns.hasIpv6() ? undefined : 1);
    return { addresses, transparent: direction === "inbound" && reach !== "any" };
  }

  #group(config: WorkloadConfig, request: GroupRequest): ListenerGroup {
    const fitting = this.#all().find((group) => group.accepts && group.fits(request));
    // From now on, not from `adopt` on: its time could be over before the change is.
    fitting?.keep();
    return fitting ?? this.#make(config, { ...request, reserved: this.#isOwnElsewhere(request) });
  }

  #make(config: WorkloadConfig, request: GroupRequest): ListenerGroup {
    const onReplacement = (socket: InboundListener): void => {
      if (request.direction === "inbound") this.#onReplacement(socket);
    };
    return new ListenerGroup({ workload: config.name, netns: this.#netns, pool: this.#pool, onReplacement }, request);
  }

  #retire(group: ListenerGroup): void {
    this.#retired.add(group);
    group.retire(() => this.#retired.delete(group));
  }

  /** It was to be part of a set that is not coming. */
  #giveUp(group: ListenerGroup): void {
    group.settle();
    if (this.#retired.has(group)) this.#retire(group);
  }

  /** Loopback beside every address: the kernel tells them apart, and both are ours. */
  #isOwnElsewhere({ direction, port, ...place }: GroupRequest): boolean {
    return this.#all().some(
      ({ accepts, port: taken, request }) =>
        accepts && request.direction === direction && taken === port && !isAt(request, place),
    );
  }

  #knows(group: ListenerGroup): boolean {
    return this.#all().includes(group);
  }

  #all(): ListenerGroup[] {
    return [...this.#current.values(), ...this.#retired];
  }
}

function isAt(request: Place, place: Place): boolean {
  return request.transparent === place.transparent && request.addresses[0]?.address === place.addresses[0]?.address;
}

function wanted({ outbound, inbound, proxy }: WorkloadConfig): Direction[] {
  if (proxy.external) return [];
  return [...(outbound.enabled ? (["outbound"] as const) : []), ...(inbound.enabled ? (["inbound"] as const) : [])];
}
