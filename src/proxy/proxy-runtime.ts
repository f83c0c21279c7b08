// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { Carrier } from "../net/carrier.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { ActiveListener } from "./active-listener.ts";
import type { ConnectionRecord } from "./connection-record.ts";
import type { ConnectionHost, LiveConnection } from "./live-connection.ts";
import type { ConnectionBytes, OpenConnection } from "./open-connection.ts";
import type { ListenerSettings, ProxyListener, Route } from "./proxy-listener.ts";

import { TimerWheel } from "./timer-wheel.ts";
import { TrafficCounters, type TrafficStats } from "./traffic-counters.ts";

/** Who runs the proxy. Called synchronously from the data path. */
export interface ProxyHost {
  /** An upstream connection is being made; not called for refused connections. */
  onOpen(connection: OpenConnection): void;
  /** Once for every accepted connection. */
  onRecord(record: ConnectionRecord): void;
  /** accept() failed, for instance for want of descriptors; the listener goes on. */
  onAcceptError(listener: string, error: Error): void;
  /** Milliseconds since the epoch that never go back. */
  now(): number;
}

export class ProxyError extends ShuntError<"ERR_PROXY_LISTENER_EXISTS" | "ERR_PROXY_NO_LISTENER"> {}

/** Deadlines are met late by up to two of these. */
const TICK_MS = 25;

/** The data path of one thread: listeners, and the connections they have accepted. */
export class ProxyRuntime implements AsyncDisposable {
  readonly #host: ProxyHost;
  readonly #wheel: TimerWheel;
  readonly #carrier = new Carrier();
  readonly #counters = new TrafficCounters();
  readonly #listeners = new Map<string, ActiveListener>();
  /** With the names they had, which others may have by now. */
  readonly #draining = new Map<ActiveListener, string>();
  readonly #open = new Map<LiveConnection, OpenConnection>();
  readonly #connectionHost: ConnectionHost;
  readonly #idPrefix = randomBytes(5).toString("hex");
  #nextId = 0;

  constructor(host: ProxyHost) {
    this.#host = host;
    this.#wheel = new TimerWheel({ tickMs: TICK_MS, now: () => host.now() });
    this.#connectionHost = {
      wheel: this.#wheel,
      now: () => host.now(),
      opened: (connection, description) => this.#onOpened(connection, description),
      replaced: (before, after) => this.#onReplaced(before, after),
      ended: (connection, record) => this.#onEnded(connection, record),
    };
  }

  /**
   * Accepts from now on; `listener.fd` is the runtime's then. Throws ProxyError when the name is taken, and SystemError
   * when the fd is no listening socket.
   */
  addListener(listener: ProxyListener): void {
    if (this.#listeners.has(listener.name)) {
      throw new ProxyError("ERR_PROXY_LISTENER_EXISTS", `listener ${listener.name} exists already`);
    }
    const onAcceptError = (error: Error): void => this.#host.onAcceptError(listener.name, error);
    const newId = (): string => `${this.#idPrefix}-${this.#nextId++}`;
    const active = new ActiveListener(listener, this.#connectionHost, this.#carrier, newId, onAcceptError);
    this.#listeners.set(listener.name, active);
  }

  /**
   * Connections keep going; their timeouts count anew with the new lengths. `route` is for those that come from now on.
   * Throws ProxyError for an unknown name.
   */
  updateListener(name: string, settings: ListenerSettings, route: Partial<Route> = {}): void {
    this.#named(name).update(settings, route);
  }

  /**
   * Accepts no more (with time to drain, after what the kernel has completed by now), waits up to `drainMs` (Infinity: as long as it takes) for the connections to end by themselves, then
   * resets the rest. The name is free at once; asked again meanwhile, it hurries. Rejects with ProxyError for an unknown
   * name.
   */
  async removeListener(name: string, options: { readonly drainMs: number }): Promise<void> {
    const before = [...this.#draining].filter(([, removed]) => removed === name).map(([active]) => active);
    if (before.length > 0 && !this.#listeners.has(name)) {
      await Promise.all(before.map((active) => active.close(options.drainMs)));
      return;
    }
    const active = this.#named(name);
    this.#listeners.delete(name);
    this.#draining.set(active, name);
    try {
      await active.close(options.drainMs);
    } finally {
      this.#draining.delete(active);
    }
  }

  connections(): OpenConnection[] {
    return [...this.#open.values()];
  }

  /** What each open connection has carried so far. */
  carried(): ConnectionBytes[] {
    return [...this.#open.keys()].map(({ id, bytesSent, bytesReceived, acceleration }) => ({
      id,
      bytesSent,
      bytesReceived,
      acceleration,
    }));
  }

  stats(): TrafficStats {
    return this.#counters.read();
  }

  /** Removes every listener; connections get `drainMs`, 0 by default. */
  async close(drainMs = 0): Promise<void> {
    const removals = [...this.#listeners.keys()].map((name) => this.removeListener(name, { drainMs }));
    // A removal that was under way with more patience must not outlast this one.
    removals.push(...[...this.#draining.keys()].map((active) => active.close(drainMs)));
    await Promise.all(removals);
    this.#wheel[Symbol.dispose]();
    this.#carrier[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #named(name: string): ActiveListener {
    const active = this.#listeners.get(name);
    if (!active) throw new ProxyError("ERR_PROXY_NO_LISTENER", `no listener ${name}`);
    return active;
  }

  #onOpened(connection: LiveConnection, description: OpenConnection): void {
    this.#open.set(connection, description);
    this.#counters.opened();
    this.#host.onOpen(description);
  }

  #onReplaced(before: LiveConnection, after: LiveConnection): void {
    const description = this.#open.get(before);
    this.#open.delete(before);
    if (description) this.#open.set(after, description);
  }

  #onEnded(connection: LiveConnection, record: ConnectionRecord): void {
    this.#counters.ended(record, this.#open.delete(connection));
    this.#host.onRecord(record);
  }
}
