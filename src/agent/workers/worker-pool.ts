// SPDX-License-Identifier: Apache-2.0
import { loadAddon } from "../../native/load-addon.ts";
import type { ConnectionRecord } from "../../proxy/connection-record.ts";
import type { BegunConnection, ConnectionBytes, OpenConnection } from "../../proxy/open-connection.ts";
import { TrafficCounters, type TrafficStats } from "../../proxy/traffic-counters.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { RestartBackoff } from "./restart-backoff.ts";
import type { WorkerListener } from "./worker-protocol.ts";
import { WorkerError, WorkerThread } from "./worker-thread.ts";

export interface WorkerPoolOptions {
  readonly workers: number;
  /** Every connection's record, once, those lost with a worker too. */
  readonly onRecord: (record: ConnectionRecord) => void;
  /** A connection has an upstream to go to. */
  readonly onOpen?: (connection: BegunConnection) => void;
  readonly onEvent?: (event: WorkerPoolEvent) => void;
}

/** What the pool does by itself. `index` names the worker. */
export type WorkerPoolEvent =
  | {
      readonly kind: "worker-exited";
      readonly index: number;
      readonly reason: string;
      readonly lostConnections: number;
      readonly restartInMs: number;
    }
  /** A replacement accepts on every listener it could be given. */
  | { readonly kind: "worker-replaced"; readonly index: number; readonly restarts: number }
  | { readonly kind: "listener-failed"; readonly index: number; readonly listener: string; readonly error: Error }
  | { readonly kind: "accept-error"; readonly index: number; readonly listener: string; readonly message: string };

export interface PoolListener {
  readonly listener: WorkerListener;
  /** A new listening socket with SO_REUSEPORT; the pool owns the fd. Called again for a replaced worker. May throw. */
  readonly makeListenerFd: (workerIndex: number) => number;
  /** The socket just made, before the worker has it: the moment to put it into an sk_lookup map. Valid during the call. */
  readonly onListenerFd?: (workerIndex: number, fd: number) => void;
}

export interface WorkerStatus {
  readonly index: number;
  /** False while a replacement is awaited. */
  readonly running: boolean;
  readonly restarts: number;
  readonly connections: number;
}

export class WorkerPoolError extends ShuntError<
  "ERR_POOL_LISTENER_EXISTS" | "ERR_POOL_NO_LISTENER" | "ERR_POOL_NO_WORKER"
> {}

interface AwaitedEnds {
  readonly ids: Set<string>;
  readonly done: () => void;
}

interface Slot {
  readonly index: number;
  readonly backoff: RestartBackoff;
  thread: WorkerThread | undefined;
  restarts: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * The data-path threads, seen from main: hands them listeners, keeps the table of open connections, replaces a thread
 * that dies. The others never notice.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #options: WorkerPoolOptions;
  readonly #slots: readonly Slot[];
  readonly #listeners = new Map<string, PoolListener>();
  /** Names of listeners whose last connections go on. */
  readonly #draining = new Set<string>();
  readonly #awaited = new Set<AwaitedEnds>();
  readonly #counters = new TrafficCounters();
  /** Dead threads are replaced: not before the first have come up, not once the pool closes. */
  #replacing = false;

  private constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.workers }, (_, index) => ({
      index,
      backoff: new RestartBackoff(),
      thread: undefined,
      restarts: 0,
      timer: undefined,
    }));
  }

  /** Resolves when every thread is ready. Rejects with WorkerError, and leaves none, when one cannot start. */
  static async start(options: WorkerPoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(options);
    try {
      await Promise.all(pool.#slots.map((slot) => pool.#startThread(slot).ready));
    } catch (error) {
      await pool.close();
      throw error;
    }
    pool.#replacing = true;
    return pool;
  }

  /**
   * Resolves when every thread accepts. Rejects, with the listener on no thread, when one cannot; with
   * WorkerPoolError when the name is taken.
   */
  async addListener(listener: PoolListener): Promise<void> {
    const { name } = listener.listener;
    if (this.#listeners.has(name)) {
      throw new WorkerPoolError("ERR_POOL_LISTENER_EXISTS", `listener ${name} exists already`);
    }
    this.#listeners.set(name, listener);
    const results = await Promise.allSettled(this.#threads().map((slot) => this.#lend(slot, slot.thread, listener)));
    const failed = results.find((result) => result.status === "rejected" && !isLost(result.reason));
    if (failed?.status !== "rejected") return;
    await this.removeListener(name, { drainMs: 0 });
    throw failed.reason;
  }

  /**
   * Connections keep going, with the timeouts that are given; everything else is for those to come. Rejects with
   * WorkerPoolError for an unknown name.
   */
  async updateListener(name: string, changes: Partial<Omit<WorkerListener, "name">>): Promise<void> {
    const known = this.#named(name);
    const listener = { ...known.listener, ...changes };
    this.#listeners.set(name, { ...known, listener });
    await this.#askAll({ kind: "update-listener", listener });
  }

  /**
   * Accepts no more. Resolves when the last connection of the listener has ended: after `drainMs` they are reset, with
   * Infinity never. Asked again meanwhile, it hurries. Rejects with WorkerPoolError for an unknown name.
   */
  async removeListener(name: string, options: { readonly drainMs: number }): Promise<void> {
    if (!this.#draining.has(name)) this.#named(name);
    this.#listeners.delete(name);
    this.#draining.add(name);
    try {
      await this.#askAll({ kind: "remove-listener", name, drainMs: options.drainMs });
    } finally {
      this.#draining.delete(name);
    }
  }

  /** Calls back once all of these connections have ended, at once when there are none, and not after it is disposed of. */
  onceEnded(ids: Iterable<string>, done: () => void): Disposable {
    const awaited: AwaitedEnds = { ids: new Set(ids), done };
    if (awaited.ids.size === 0) done();
    else this.#awaited.add(awaited);
    return { [Symbol.dispose]: () => void this.#awaited.delete(awaited) };
  }

  /** Threads there are when all is well. */
  get size(): number {
    return this.#slots.length;
  }

  /** Connections carried now, as the threads have reported them. */
  connections(): OpenConnection[] {
    return this.#threads().flatMap((slot) => [...slot.thread.connections()]);
  }

  /** As `connections`, with what each has carried up to now; a thread that dies meanwhile has none. */
  async carriedConnections(): Promise<(OpenConnection & ConnectionBytes)[]> {
    await this.#askAll({ kind: "tell-carried" });
    return this.#threads().flatMap(({ thread }) =>
      [...thread.connections()].map((open) => ({
        ...open,
        ...(thread.carried(open.id) ?? { id: open.id, bytesSent: 0, bytesReceived: 0 }),
      })),
    );
  }

  /** Since the start, and over every thread there has been. */
  stats(): TrafficStats {
    return this.#counters.read();
  }

  workers(): WorkerStatus[] {
    return this.#slots.map(({ index, thread, restarts }) => ({
      index,
      running: thread !== undefined,
      restarts,
      connections: thread ? [...thread.connections()].length : 0,
    }));
  }

  /** Kills a thread wherever it is; a replacement follows. Resolves when it is gone. */
  async terminateWorker(index: number): Promise<void> {
    await this.#thread(index).terminate();
  }

  /** Makes a thread throw; a replacement follows. Resolves when it is gone. */
  async crashWorker(index: number): Promise<void> {
    const thread = this.#thread(index);
    thread.crash("crash asked for");
    await thread.exited;
  }

  /** Stops accepting, gives connections `drainMs`, ends the threads. Every record has been given out at the end. */
  async close(drainMs = 0): Promise<void> {
    this.#replacing = false;
    for (const slot of this.#slots) clearTimeout(slot.timer);
    await Promise.all(this.#threads().map((slot) => slot.thread.stop(drainMs)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #startThread(slot: Slot): WorkerThread {
    const thread = new WorkerThread(slot.index, {
      onOpen: (connection) => {
        this.#counters.opened();
        this.#options.onOpen?.(connection);
      },
      onRecord: (record, wasOpen) => this.#onRecord(record, wasOpen),
      onAcceptError: (listener, message) =>
        this.#options.onEvent?.({ kind: "accept-error", index: slot.index, listener, message }),
      onExit: (reason, lostConnections) => this.#onExit(slot, thread, reason, lostConnections),
    });
    slot.thread = thread;
    return thread;
  }

  #onRecord(record: ConnectionRecord, wasOpen: boolean): void {
    this.#counters.ended(record, wasOpen);
    this.#options.onRecord(record);
    for (const awaited of this.#awaited) {
      if (!awaited.ids.delete(record.id) || awaited.ids.size > 0) continue;
      this.#awaited.delete(awaited);
      awaited.done();
    }
  }

  #onExit(slot: Slot, thread: WorkerThread, reason: string, lostConnections: number): void {
    slot.thread = undefined;
    if (!this.#replacing) return;
    const restartInMs = slot.backoff.next(performance.now() - thread.startedAt);
    this.#options.onEvent?.({ kind: "worker-exited", index: slot.index, reason, lostConnections, restartInMs });
    if (restartInMs === 0) this.#replace(slot);
    else slot.timer = setTimeout(() => this.#replace(slot), restartInMs);
  }

  /** The new sockets exist at once, so clients wait in their queues and not for the thread to start. */
  #replace(slot: Slot): void {
    slot.restarts++;
    const thread = this.#startThread(slot);
    const lent = [...this.#listeners.values()].map((listener) =>
      this.#lend(slot, thread, listener).catch((error: Error) => this.#onLendFailed(slot, listener, error)),
    );
    void Promise.all([...lent, thread.ready]).then(
      () => this.#options.onEvent?.({ kind: "worker-replaced", index: slot.index, restarts: slot.restarts }),
      // It has died again, which onExit reports.
      () => {},
    );
  }

  #onLendFailed(slot: Slot, { listener }: PoolListener, error: Error): void {
    if (isLost(error)) return;
    this.#options.onEvent?.({ kind: "listener-failed", index: slot.index, listener: listener.name, error });
  }

  /** Main's descriptor lives until the thread has its own, or has died. */
  async #lend(slot: Slot, thread: WorkerThread, pooled: PoolListener): Promise<void> {
    const fd = pooled.makeListenerFd(slot.index);
    try {
      pooled.onListenerFd?.(slot.index, fd);
      await thread.request({ kind: "add-listener", listener: pooled.listener, fd });
    } finally {
      loadAddon().closeFd(fd);
    }
  }

  async #askAll(request: Parameters<WorkerThread["request"]>[0]): Promise<void> {
    const results = await Promise.allSettled(this.#threads().map(({ thread }) => thread.request(request)));
    for (const result of results) {
      // A thread that dies, or never got the listener, has nothing left to change.
      if (result.status === "rejected" && !isLost(result.reason) && !isUnknownListener(result.reason))
        throw result.reason;
    }
  }

  #threads(): (Slot & { thread: WorkerThread })[] {
    return this.#slots.filter((slot): slot is Slot & { thread: WorkerThread } => slot.thread !== undefined);
  }

  #thread(index: number): WorkerThread {
    const thread = this.#slots[index]?.thread;
    if (!thread) throw new WorkerPoolError("ERR_POOL_NO_WORKER", `no worker ${index} is running`);
    return thread;
  }

  #named(name: string): PoolListener {
    const known = this.#listeners.get(name);
    if (!known) throw new WorkerPoolError("ERR_POOL_NO_LISTENER", `no listener ${name}`);
    return known;
  }
}

function isLost(error: unknown): boolean {
  return error instanceof WorkerError && error.code === "ERR_WORKER_LOST";
}

function isUnknownListener(error: unknown): boolean {
  return error instanceof WorkerError && error.message.includes("ERR_PROXY_NO_LISTENER");
}
