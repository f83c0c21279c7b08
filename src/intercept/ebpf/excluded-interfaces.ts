// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { matchesInterface } from "../interface-name.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import { type Route, readRoutes } from "../routes.ts";
import type { EbpfInstance } from "./instance.ts";
import { type CidrEntry, cidrEntries } from "./plan.ts";

interface Contents {
  readonly indexes: ReadonlySet<number>;
  readonly routes: ReadonlyMap<string, CidrEntry>;
}

/**
 * What the programs know of the interfaces that a policy excludes: their indexes, and the destinations that leave by
 * them, since connect() comes before the route is looked up. Followed when links and routes of the namespace change.
 */
export class ExcludedInterfaces implements Disposable {
  readonly #instance: EbpfInstance;
  readonly #policy: number;
  readonly #netns: NetworkNamespace;
  readonly #patterns: readonly string[];
  readonly #watcher: Disposable;
  #contents: Contents = { indexes: new Set(), routes: new Map() };

  /** Writes the entries of a policy, and keeps them up until it is disposed of. */
  constructor(instance: EbpfInstance, policy: number, netns: NetworkNamespace, patterns: readonly string[]) {
    this.#instance = instance;
    this.#policy = policy;
    this.#netns = netns;
    this.#patterns = patterns;
    // Before the first look, so that no change is missed.
    const watcher = check(
      loadAddon().watchRoutes(netns.fd, () => this.#replace(this.#look())),
      "bind(NETLINK_ROUTE)",
      netns.path,
    );
    watcher.unref();
    this.#watcher = { [Symbol.dispose]: () => watcher.close() };
    try {
      this.#replace(this.#look());
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Takes the entries away: the policy is no longer in force. */
  remove(): void {
    this[Symbol.dispose]();
    this.#replace({ indexes: new Set(), routes: new Map() });
  }

  [Symbol.dispose](): void {
    this.#watcher[Symbol.dispose]();
  }

  #look(): Contents {
    const links = check(loadAddon().interfaceIndexes(this.#netns.fd), "if_nameindex", this.#netns.path);
    const excluded = links.filter(({ name }) => this.#isExcluded(name));
    const entries = routeEntries(readRoutes(this.#netns), (name) => this.#isExcluded(name));
    return {
      indexes: new Set(excluded.map(({ index }) => index)),
      routes: new Map(entries.map((entry) => [`${entry.key.address}/${entry.key.prefixLength}`, entry])),
    };
  }

  #isExcluded(name: string): boolean {
    return this.#patterns.some((pattern) => matchesInterface(pattern, name));
  }

  /** What is new comes before what is gone, so that a route that changes is never without an entry. */
  #replace(now: Contents): void {
    const before = this.#contents;
    const policy = this.#policy;
    const interfaces = this.#instance.map("interfaces");
    const cidrs = this.#instance.map("cidrs");
    this.#contents = now;
    for (const index of now.indexes) if (!before.indexes.has(index)) interfaces.set({ policy, index }, 1);
    for (const [name, { key, covers }] of now.routes)
      if (before.routes.get(name)?.covers !== covers) cidrs.set({ ...key, policy }, covers ? 1 : 0);
    for (const index of before.indexes) if (!now.indexes.has(index)) interfaces.delete({ policy, index });
    for (const [name, { key }] of before.routes) if (!now.routes.has(name)) cidrs.delete({ ...key, policy });
  }
}

/** Every route, because a longer one by another interface takes its range out of a shorter one that is excluded. */
export function routeEntries(routes: readonly Route[], isExcluded: (name: string) => boolean): CidrEntry[] {
  const excluded = new Set(routes.filter((route) => isExcluded(route.interface)).map(({ destination }) => destination));
  if (excluded.size === 0) return [];
  const ranges = routes.map(({ destination }) => destination);
  return cidrEntries("interface-route", ranges, (range) => excluded.has(range));
}
