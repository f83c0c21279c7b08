// SPDX-License-Identifier: Apache-2.0

import { watch } from "node:fs";
import { basename, dirname } from "node:path";
import { type AdminServer, startAdminServer } from "../admin/admin-server.ts";
import { adminSocketPath, RUNTIME_FOLDER } from "../config/admin-socket-path.ts";
import type { RunOptions } from "../config/command-options.ts";
import type { AgentConfig } from "../config/model.ts";
import { Cgroup2Mount } from "../intercept/cgroup2-mount.ts";
import { loadAddon } from "../native/load-addon.ts";
import { check } from "../native/status.ts";
import { RecordFile, reopenOnSignal } from "../telemetry/record-file.ts";
import { EveryStep } from "../util/every-step.ts";
import { createLogger, type Logger } from "../util/log.ts";
import { notifySystemd, type ServiceState } from "../util/notify-systemd.ts";
import { ShuntError } from "../util/shunt-error.ts";
import { Agent } from "./agent.ts";
import { AgentAdmin } from "./agent-admin.ts";
import { requirePrivileges } from "./require-privileges.ts";
import { standingByHand } from "./rules/hand-in-force.ts";
import { readState, ScopeLock, type WorkloadTrace } from "./scope-lock.ts";
import { resolveAll } from "./target.ts";
import { type Attempt, undoTrace } from "./undo-trace.ts";

/** Editors write in several steps; the file is read when they have been quiet for this long. */
const SETTLE_MS = 100;

/**
 * The agent in the foreground, until `signal` aborts. A workload that cannot be intercepted at the start is an error;
 * at a reload it is reported, and the others go on.
 */
export async function runAgent(config: AgentConfig, options: RunOptions, signal: AbortSignal): Promise<number> {
  requirePrivileges("run");
  using _cgroup2 = new Cgroup2Mount();
  const log = createLogger({ level: config.logLevel, format: config.logFormat });
  using lock = new ScopeLock(config.name, RUNTIME_FOLDER, standingByHand);
  const before = readState(lock.directory)?.workloads ?? [];
  const { failures: wrongTargets, keys } = resolveAll(config.workloads);
  throwFirst(wrongTargets);
  lock.claim(keys);
  const traces = new Map(before.map((trace) => [traceKey(trace), trace]));
  const record =
    config.record === undefined
      ? undefined
      : new RecordFile({
          path: config.record,
          setting: "record",
          onError: (error) => log.error({ err: error }, "record lost"),
        });
  const stopReopening = record && reopenOnSignal(record);
  const admin = new AgentAdmin(config);
  const agent = await Agent.start({
    name: config.name,
    workers: config.workers,
    timeouts: config.proxy,
    log,
    inherited: new Map(before.map((trace) => [trace.netns, trace])),
    onTrace: (trace) => {
      traces.set(traceKey(trace), trace);
      lock.save({ workloads: [...traces.values()], cgroups: [] });
    },
    ...(options.cgroupRoot === undefined ? {} : { cgroupRoot: options.cgroupRoot }),
    onRecord: (line) => {
      record?.append(line);
      admin.ended(line);
    },
    onOpen: (connection) => admin.opened(connection),
  });
  let server: AdminServer | undefined;
  let status = 0;
  try {
    const apply = async (next: AgentConfig): Promise<Map<string, Error>> => {
      const failures = await agent.reconcile(next.workloads);
      traces.clear();
      for (const trace of agent.traces) traces.set(traceKey(trace), trace);
      lock.save({ workloads: [...traces.values()], cgroups: [] });
      for (const [workload, err] of failures) {
        const goesOn = agent.workloads.has(workload);
        log.error({ workload, err }, goesOn ? "workload not changed" : "workload not intercepted");
      }
      return failures;
    };
    throwFirst(await apply(config));
    agent.releaseLeftovers();
    await undoAll(before, [...traces.values()], log);
    admin.attach(agent);
    server = await startAdminServer({
      source: admin,
      socketPath: adminSocketPath(config.name),
      ...(config.admin === undefined ? {} : { tcp: config.admin }),
      onError: (err) => log.error({ err }, "admin request failed"),
    });
    if (server.tcp) log.info({ ...server.tcp }, "admin server listens");
    agent.drift.every(config.verifyIntervalMs);
    const announce = (): void => {
      admin.setReady();
      options.onReady();
      tell(log, { kind: "ready" });
      void agent.foreignRules.look(agent.workloads.values());
    };
    await reloadUntil(signal, options, log, announce, async (next) => {
      // What a workload has is its until that is certain to go.
      const inForce = (): string[] => [...agent.workloads.values()].map(({ targetKey }) => targetKey);
      lock.claim([...new Set([...resolveAll(next.workloads).keys, ...inForce()])]);
      const problems = await apply(next);
      lock.claim(inForce());
      admin.configure(next, problems);
      await agent.drift.verify();
      void agent.foreignRules.look(agent.workloads.values());
      agent.drift.every(next.verifyIntervalMs);
    });
    tell(log, { kind: "stopping" });
  } finally {
    const steps = new EveryStep();
    await steps.run(async () => server?.close());
    for (const trace of agent.traces) traces.delete(traceKey(trace));
    await steps.run(() => agent.stop());
    // Of a start that failed half-way, the rest of what a killed agent left: nobody else will know of it.
    await steps.run(() => undoAll([...traces.values()], [], log));
    stopReopening?.();
    await steps.run(async () => record?.close());
    for (const err of steps.errors) log.error({ err }, "stopped, but something is left: shunt clean removes it");
    if (steps.errors.length > 0) {
      lock.keep();
      status = 1;
    }
  }
  return status;
}

/** A workload that cannot be had at the start is the end. */
function throwFirst(failures: ReadonlyMap<string, Error>): void {
  const [first] = failures;
  if (!first) return;
  const [name, cause] = first;
  if (cause instanceof ShuntError && cause.code === "ERR_TARGET_SHARED") throw cause;
  throw new ShuntError("ERR_WORKLOAD_START", `workload "${name}": ${cause.message}`, { cause });
}

/** Applies the configuration again on SIGHUP and when the file changes, one at a time, until `signal` aborts. */
async function reloadUntil(
  signal: AbortSignal,
  options: RunOptions,
  log: Logger,
  announce: () => void,
  apply: (next: AgentConfig) => Promise<void>,
): Promise<void> {
  const { reload, configFile } = options;
  let queue = Promise.resolve();
  const again = (why: string): void => {
    queue = queue.then(async () => {
      if (!reload || signal.aborted) return;
      try {
        await apply(reload());
        log.info({ why }, "configuration applied");
      } catch (err) {
        log.error({ err, why }, "configuration not applied, the old one stays in force");
      }
    });
  };
  const onHangup = (): void => again("SIGHUP");
  process.on("SIGHUP", onHangup);
  let settle: NodeJS.Timeout | undefined;
  // The directory is watched, because editors and ConfigMaps replace the file instead of writing to it.
  const watcher = configFile === undefined ? undefined : watch(dirname(configFile));
  watcher?.on("change", (_event, name) => {
    if (configFile === undefined || (name !== basename(configFile) && name !== "..data")) return;
    clearTimeout(settle);
    settle = setTimeout(() => again("file changed"), SETTLE_MS);
  });
  // Not before: whoever changes the file when he reads "ready" must not be overlooked.
  announce();
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  watcher?.close();
  clearTimeout(settle);
  process.off("SIGHUP", onHangup);
  await queue;
}

/** Undoes what an agent that was killed left, but for what the workloads `inForce` need. */
async function undoAll(left: readonly WorkloadTrace[], inForce: readonly WorkloadTrace[], log: Logger): Promise<void> {
  const attempt: Attempt = async (item, action) => {
    try {
      if (await action()) log.info({ ...item }, "leftover removed");
    } catch (err) {
      log.error({ ...item, err }, "leftover not removed");
    }
  };
  for (const trace of left) await undoTrace(trace, attempt, inForce);
}

function traceKey({ target, workload }: WorkloadTrace): string {
  return `${workload} ${target}`;
}

/** A service manager that does not listen is no reason to fail: sd_notify(3). */
function tell(log: Logger, state: ServiceState): void {
  try {
    notifySystemd(state, (path, text) => {
      check(loadAddon().sendDatagram(path, Buffer.from(text)), "sendto", path.replace("\0", "@"));
    });
  } catch (err) {
    log.warn({ err }, "service manager not notified");
  }
}
