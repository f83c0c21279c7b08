// SPDX-License-Identifier: Apache-2.0

import { createRequire } from "node:module";
import { extname } from "node:path";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { ConnectionRecord } from "../../proxy/connection-record.ts";
import type { BegunConnection, ConnectionBytes, OpenConnection } from "../../proxy/open-connection.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { type Rows, readOpen, readRecords } from "./traffic-rows.ts";
import type { FromWorker, ToWorker, WorkerRequest } from "./worker-protocol.ts";

export class WorkerError extends ShuntError<"ERR_WORKER_LOST" | "ERR_WORKER_REQUEST"> {}

/** Beyond the drain time: how long a thread may take to end by itself. */
const STOP_GRACE_MS = 5_000;

/** Main's side of a thread hears of it here. */
export interface WorkerThreadObserver {
  onOpen(connection: BegunConnection): void;
  /** `wasOpen`: onOpen has been called for it. */
  onRecord(record: ConnectionRecord, wasOpen: boolean): void;
  onAcceptError(listener: string, message: string): void;
  /** Once; `reason` in words. Records of its open connections have been given to onRecord. */
  onExit(reason: string, lostConnections: number): void;
}

interface Pending {
  readonly request: WorkerRequest;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** One data-path thread from start to exit, with what is known of its connections. */
export class WorkerThread {
  /** Rejects with WorkerError when the thread ends before it is ready. */
  readonly ready: Promise<void>;
  readonly exited: Promise<void>;
  readonly startedAt = performance.now();
  readonly #worker: Worker;
  readonly #observer: WorkerThreadObserver;
  readonly #open = new Map<string, OpenConnection>();
  #carried: ReadonlyMap<string, ConnectionBytes> = new Map();
  readonly #pending = new Map<number, Pending>();
  #nextRequest = 1;
  #failure: Error | undefined;
  #stopping = false;
  #gone = false;
  #onReady: () => void = () => {};
  #onNotReady: (error: Error) => void = () => {};
  #onExited: () => void = () => {};

  constructor(index: number, observer: WorkerThreadObserver) {
    this.#observer = observer;
    this.#worker = startWorker(`shunt-worker-${index}`);
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onNotReady = reject;
    });
    // Not everybody asks.
    this.ready.catch(() => {});
    this.exited = new Promise((resolve) => {
      this.#onExited = resolve;
    });
    this.#worker.on("message", (message: FromWorker) => this.#onMessage(message));
    this.#worker.on("error", (error: Error) => {
      this.#failure = error;
    });
    // Node delivers what the thread had posted before it says that it is gone.
    this.#worker.on("exit", (code) => this.#onExit(code));
  }

  /** Connections it is known to carry; at most a few milliseconds old. */
  connections(): IterableIterator<OpenConnection> {
    return this.#open.values();
  }

  /** What a connection had carried when the thread was last asked (`tell-carried`). */
  carried(id: string): ConnectionBytes | undefined {
    return this.#carried.get(id);
  }

  /** Rejects with WorkerError: ERR_WORKER_REQUEST when the thread refuses, ERR_WORKER_LOST when it ends before it answers. */
  request(request: WorkerRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#gone) {
        reject(new WorkerError("ERR_WORKER_LOST", `worker ended before ${request.kind}`));
        return;
      }
      const id = this.#nextRequest++;
      this.#pending.set(id, { request, resolve, reject });
      this.#post({ kind: "request", id, request });
    });
  }

  /** Ends the thread in order: its connections get `drainMs`. Terminates it when that takes much longer. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    this.#post({ kind: "stop", drainMs });
    const timer = setTimeout(() => void this.#worker.terminate(), drainMs + STOP_GRACE_MS);
    await this.exited;
    clearTimeout(timer);
  }

  /** Ends the thread wherever it is. Its connections are lost. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
    await this.exited;
  }

  /** Makes the thread throw. */
  crash(message: string): void {
    this.#post({ kind: "crash", message });
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromWorker): void {
    switch (message.kind) {
      case "ready":
        return this.#onReady();
      case "answer":
        return this.#onAnswer(message.id, message.error);
      case "traffic":
        return this.#onTraffic(message.opened, message.ended, message.brief);
      case "carried":
        this.#carried = new Map(message.connections.map((connection) => [connection.id, connection]));
        return;
      case "accept-error":
        return this.#observer.onAcceptError(message.listener, message.message);
    }
  }

  #onTraffic(opened: Rows, ended: Rows, brief: Rows): void {
    readOpen(opened, (connection) => {
      this.#open.set(connection.id, connection);
      this.#observer.onOpen(connection);
    });
    readRecords(ended, (record) => this.#observer.onRecord(record, this.#open.delete(record.id)));
    readRecords(brief, (record) => {
      this.#observer.onOpen(record);
      this.#observer.onRecord(record, true);
    });
  }

  #onAnswer(id: number, error: { readonly code: string; readonly message: string } | undefined): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (!error) pending?.resolve();
    else
      pending?.reject(
        new WorkerError("ERR_WORKER_REQUEST", `${pending.request.kind}: ${error.message} (${error.code})`),
      );
  }

  #onExit(code: number): void {
    this.#gone = true;
    const reason = this.#failure
      ? `uncaught: ${this.#failure.message}`
      : this.#stopping
        ? "stopped"
        : `exit code ${code}`;
    const lost = [...this.#open.values()];
    this.#open.clear();
    for (const connection of lost) this.#observer.onRecord(lostRecord(connection, reason), true);
    const error = new WorkerError("ERR_WORKER_LOST", `worker ended (${reason})`, { cause: this.#failure });
    this.#onNotReady(error);
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.#onExited();
    this.#observer.onExit(reason, lost.length);
  }
}

/** What can still be said of a connection whose thread has died; how much it carried is lost with it. */
function lostRecord(connection: OpenConnection, reason: string): ConnectionRecord {
  return {
    time: connection.time,
    id: connection.id,
    direction: connection.direction,
    source: connection.source,
    originalDestination: connection.originalDestination,
    upstream: connection.upstream,
    bytesSent: 0,
    bytesReceived: 0,
    durationMs: Math.max(0, Date.now() - Date.parse(connection.time)),
    outcome: "worker-lost",
    detail: `worker thread ended (${reason}); bytes were not counted`,
    interception: connection.interception,
    workload: connection.workload,
  };
}

/**
 * From dist the entry is JavaScript. From src (tsx, vitest) the thread must be taught TypeScript: tsx does nothing in a
 * thread when it is named by `--import`, so the thread registers it before it imports the entry.
 */
function startWorker(name: string): Worker {
  const extension = extname(import.meta.url);
  const entry = new URL(`./worker-main${extension}`, import.meta.url);
  if (extension !== ".ts") return new Worker(entry, { name });
  // By file, because a thread made of text resolves bare names from the working directory.
  const require = createRequire(import.meta.url);
  const { exports } = require("tsx/package.json") as { exports: { "./esm/api": { import: { default: string } } } };
  const api = new URL(exports["./esm/api"].import.default, pathToFileURL(require.resolve("tsx/package.json")));
  const text = `import("${api.href}").then((tsx) => { tsx.register(); return import("${entry.href}"); });`;
  return new Worker(text, { name, eval: true, execArgv: [] });
}
