// SPDX-License-Identifier: Apache-2.0
/** Entry of a data-path thread: does what main says, reports what happens. */
import { parentPort } from "node:worker_threads";
import { createOriginalDestinationLookup, interceptionOf } from "../intercept/original-destination.ts";
import { createOwnFlowNoter } from "../intercept/own-flows.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { ProxyRuntime } from "../proxy/proxy-runtime.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { TrafficBatch } from "./traffic-batch.ts";
import type { FromWorker, ToWorker, WorkerListener, WorkerRequest } from "./worker-protocol.ts";

const port = parentPort;
if (!port) throw new ShuntError("ERR_WORKER_NO_PARENT", "worker-main is the entry of a worker thread, not a program");

const post = (message: FromWorker): void => port.postMessage(message);
const batch = new TrafficBatch(post);
/** Lets go of what the lookup of a listener holds on to. */
const releases = new Map<string, () => void>();

const runtime = new ProxyRuntime({
  onOpen: (connection) => batch.opened(connection),
  onRecord: (record) => batch.ended(record),
  onAcceptError: (listener, error) => post({ kind: "accept-error", listener, message: error.message }),
  now: () => performance.timeOrigin + performance.now(),
});

async function addListener(listener: WorkerListener, mainsFd: number): Promise<void> {
  const { originals, ownFlows, ...config } = listener;
  const lookup = createOriginalDestinationLookup(originals);
  const noteOwnFlow = ownFlows && createOwnFlowNoter(ownFlows);
  const release = (): void => {
    lookup[Symbol.dispose]();
    noteOwnFlow?.[Symbol.dispose]();
  };
  const fd = check(loadAddon().duplicate(mainsFd), "dup", `listener ${config.name}`);
  try {
    await runtime.addListener({ ...config, interception: interceptionOf(originals), fd, lookup, noteOwnFlow });
  } catch (error) {
    loadAddon().closeFd(fd);
    release();
    throw error;
  }
  releases.set(config.name, release);
}

async function removeListener(name: string, drainMs: number): Promise<void> {
  const release = releases.get(name);
  releases.delete(name);
  await runtime.removeListener(name, { drainMs });
  release?.();
}

async function perform(request: WorkerRequest): Promise<void> {
  switch (request.kind) {
    case "add-listener":
      return addListener(request.listener, request.fd);
    case "update-listener":
      return runtime.updateListener(request.name, request.settings);
    case "tell-carried":
      return post({ kind: "carried", connections: runtime.carried() });
    case "remove-listener":
      return removeListener(request.name, request.drainMs);
  }
}

async function answer(id: number, request: WorkerRequest): Promise<void> {
  try {
    await perform(request);
    // Records of the listener's last connections before the word that it is gone.
    batch.flush();
    post({ kind: "answer", id });
  } catch (error) {
    const { code = "ERR_WORKER_REQUEST", message } = error as NodeJS.ErrnoException;
    post({ kind: "answer", id, error: { code, message } });
  }
}

async function stop(drainMs: number): Promise<void> {
  await runtime.close(drainMs);
  batch.flush();
  port?.close();
}

function crash(message: string): void {
  // Outside the message handler, as a defect on the data path would be.
  setImmediate(() => {
    throw new ShuntError("ERR_WORKER_CRASH", message);
  });
}

port.on("message", (message: ToWorker) => {
  if (message.kind === "request") void answer(message.id, message.request);
  else if (message.kind === "stop") void stop(message.drainMs);
  else crash(message.message);
});

// The records of the turn in which the thread dies.
process.on("uncaughtExceptionMonitor", batch.flush);

// Fails here, and not at the first connection, when the addon is missing.
loadAddon();
post({ kind: "ready" });
