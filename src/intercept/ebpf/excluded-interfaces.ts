// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { matchesInterface } from "../interface-name.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import { type Route, readRoutes } from "../routes.ts";
import type { EbpfInstance } from "./instance.ts";
import { type CidrEntry, cidrEntries } from "./plan.ts";

const RETRY_MS = 1_000;

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
  #contents: { indexes: Set<number>; routes: Map<string, CidrEntry> } = { indexes: new Set(), routes: new Map() };
  #retry: NodeJS.Timeout | undefined;

  /** Writes the entries of a policy, and keeps them up until it is disposed of. */
  constructor(instance: EbpfInstance, policy: number, netns: NetworkNamespace, patterns: readonly string[]) {
    this.#instance = instance;
    this.#policy = policy;
    this.#netns = netns;
    this.#patterns = patterns;
    // Before the first look, so that no change is missed.
    const watcher = check(
      loadAddon().watchRoutes(netns.fd, () => this.#follow()),
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
    clearTimeout(this.#retry);
    this.#watcher[Symbol.dispose]();
  }

  /** A full map or an unreadable table must not end the process; it is told, and tried again. */
  #follow(): void {
    clearTimeout(this.#retry);
    try {
      this.#replace(this.#look());
    } catch (error) {
      process.emitWarning(
        `${this.#netns.path}: links and routes by excluded interfaces (${this.#patterns.join(", ")}) are not all known: ${String(error)}`,
        "ShuntWarning",
      );
      this.#retry = setTimeout(() => this.#follow(), RETRY_MS).unref();
    }
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
    // Noted one by one: what failed in the middle is not taken for done.
    for (const index of now.indexes) {
      if (before.indexes.has(index)) continue;
      interfaces.set({ policy, index }, 1);
      before.indexes.add(index);
    }
    for (const [name, entry] of now.routes) {
      if (before.routes.get(name)?.covers === entry.covers) continue;
      cidrs.set({ ...entry.key, policy }, entry.covers ? 1 : 0);
      before.routes.set(name, entry);
    }
    for (const index of before.indexes) {
      if (now.indexes.has(index)) continue;
      interfaces.delete({ policy, index });
      before.indexes.delete(index);
    }
    for (const [name, { key }] of before.routes) {
      if (now.routes.has(name)) continue;
      cidrs.delete({ ...key, policy });
      before.routes.delete(name);
    }
  }
}

/** Every route, because a longer one by another interface takes its range out of a shorter one that is excluded. */
export function routeEntries(routes: readonly Route[], isExcluded: (name: string) => boolean): CidrEntry[] {
  const excluded = new Set(routes.filter((route) => isExcluded(route.interface)).map(({ destination }) => destination));
  if (excluded.size === 0) return [];
  const ranges = routes.map(({ destination }) => destination);
  return cidrEntries("interface-route", ranges, (range) => excluded.has(range));
}
