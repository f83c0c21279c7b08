// SPDX-License-Identifier: Apache-2.0
/** Entry of a data-path thread: does what main says, reports what happens. */
import { parentPort } from "node:worker_threads";
import { loadAddon } from "../../native/load-addon.ts";
import { check } from "../../native/status.ts";
import { ProxyRuntime } from "../../proxy/proxy-runtime.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { ListenerHandles } from "./listener-handles.ts";
import { TrafficBatch } from "./traffic-batch.ts";
import type { FromWorker, ToWorker, WorkerListener, WorkerRequest } from "./worker-protocol.ts";

const port = parentPort;
if (!port) throw new ShuntError("ERR_WORKER_NO_PARENT", "worker-main is the entry of a worker thread, not a program");

const post = (message: FromWorker): void => port.postMessage(message);
const batch = new TrafficBatch(post);
const handles = new Map<string, ListenerHandles>();

const runtime = new ProxyRuntime({
  onOpen: (connection) => batch.opened(connection),
  onRecord: (record) => batch.ended(record),
  onAcceptError: (listener, error) => post({ kind: "accept-error", listener, message: error.message }),
  now: () => performance.timeOrigin + performance.now(),
});

function addListener(listener: WorkerListener, mainsFd: number): void {
  const {
    originals: _originals,
    ownFlows: _ownFlows,
    acceleration: _acceleration,
    splice: _splice,
    ...config
  } = listener;
  const own = new ListenerHandles();
  let fd: number | undefined;
  try {
    const route = own.route(listener);
    fd = check(loadAddon().duplicate(mainsFd), "dup", `listener ${config.name}`);
    handles.set(config.name, own);
    runtime.addListener({ ...config, ...route, fd });
  } catch (error) {
    if (fd !== undefined) loadAddon().closeFd(fd);
    if (handles.get(config.name) === own) handles.delete(config.name);
    own[Symbol.dispose]();
    throw error;
  }
}

function updateListener(listener: WorkerListener): void {
  runtime.updateListener(listener.name, listener, handles.get(listener.name)?.route(listener));
}

async function removeListener(name: string, drainMs: number): Promise<void> {
  const own = handles.get(name);
  handles.delete(name);
  await runtime.removeListener(name, { drainMs });
  own?.[Symbol.dispose]();
}

async function perform(request: WorkerRequest): Promise<void> {
  switch (request.kind) {
    case "add-listener":
      return addListener(request.listener, request.fd);
    case "update-listener":
      return updateListener(request.listener);
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
