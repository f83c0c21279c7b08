// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { WorkloadConfig } from "../config/model.ts";
import { partsOf } from "../intercept/composite.ts";
import { EbpfBackend } from "../intercept/ebpf/backend.ts";
import { followEvents } from "../intercept/ebpf/event-stream.ts";
import { sweepHops, sweepOriginals, sweepOwnFlows } from "../intercept/ebpf/sweep.ts";
import { WorkloadScope } from "../intercept/ebpf/workload-scope.ts";
import { formatEndpoint } from "../net/endpoint.ts";
import type { ConnectionRecord } from "../proxy/connection-record.ts";
import type { BegunConnection } from "../proxy/open-connection.ts";
import { EveryStep } from "../util/every-step.ts";
import type { Logger } from "../util/log.ts";
import { AgentAcceleration } from "./acceleration.ts";
import { DriftWatch } from "./drift-watch.ts";
import { ForeignRules } from "./foreign-rules.ts";
import type { WorkloadTrace } from "./scope-lock.ts";
import { resolveAll } from "./target.ts";
import { WorkerPool, type WorkerPoolEvent } from "./workers/worker-pool.ts";
import { Workload } from "./workload/workload.ts";
import type { ProxyTimeouts, WorkloadContext } from "./workload/workload-context.ts";

const SWEEP_INTERVAL_MS = 60_000;

export interface AgentOptions {
  /** Names the pins: the agent's name, or `exec-<pid>`. */
  readonly name: string;
  readonly workers: number;
  readonly timeouts: ProxyTimeouts;
  readonly cgroupRoot?: string;
  readonly log: Logger;
  readonly onRecord: (record: ConnectionRecord) => void;
  readonly onOpen?: (connection: BegunConnection) => void;
  /** See WorkloadContext. */
  readonly inherited?: ReadonlyMap<string, WorkloadTrace>;
  readonly onTrace?: (trace: WorkloadTrace) => void;
}

/**
 * The composition: a worker pool, one instance of the programs, and the workloads that use both. `run` and `exec`
 * differ in where the workloads come from and in what happens at the end.
 */
export class Agent implements AsyncDisposable {
  readonly options: AgentOptions;
  readonly ebpf: EbpfBackend;
  readonly pool: WorkerPool;
  readonly acceleration: AgentAcceleration;
  readonly workloads = new Map<string, Workload>();
  /** Of workloads that could not be removed altogether. */
  readonly #unremoved: WorkloadTrace[] = [];
  readonly startedAt = new Date();
  /** Connections that have ended, by workload. */
  readonly ended: ReadonlyMap<string, number>;
  readonly #sweeper: NodeJS.Timeout;
  readonly drift: DriftWatch;
  readonly foreignRules: ForeignRules;
  #events: Disposable | undefined;

  private constructor(options: AgentOptions, pool: WorkerPool, ended: ReadonlyMap<string, number>) {
    this.ended = ended;
    this.options = options;
    this.pool = pool;
    this.acceleration = new AgentAcceleration(options.cgroupRoot, options.log);
    this.ebpf = new EbpfBackend({
      name: options.name,
      ...(options.cgroupRoot === undefined ? {} : { cgroupRoot: options.cgroupRoot }),
      onUnload: () => this.#unfollowVerdicts(),
    });
    this.drift = new DriftWatch(() => this.workloads.values(), options.log);
    this.foreignRules = new ForeignRules(options.log);
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_INTERVAL_MS).unref();
  }

  static async start(options: AgentOptions): Promise<Agent> {
    const totals = new Map<string, number>();
    const pool = await WorkerPool.start({
      workers: options.workers,
      onRecord: (record) => {
        totals.set(record.workload, (totals.get(record.workload) ?? 0) + 1);
        options.onRecord(record);
      },
      ...(options.onOpen === undefined ? {} : { onOpen: options.onOpen }),
      onEvent: (event) => logPoolEvent(options.log, event),
    });
    return new Agent(options, pool, totals);
  }

  async add(config: WorkloadConfig): Promise<Workload> {
    const workload = await Workload.start(config, this.#context);
    this.workloads.set(config.name, workload);
    this.#followVerdicts();
    return workload;
  }

  async remove(name: string): Promise<void> {
    const workload = this.workloads.get(name);
    this.workloads.delete(name);
    try {
      await workload?.remove();
    } catch (error) {
      if (workload) this.#unremoved.push(workload.trace);
      throw error;
    }
  }

  /** Of everything that this agent has in force, or could not take back. */
  get traces(): readonly WorkloadTrace[] {
    return [...[...this.workloads.values()].map(({ trace }) => trace), ...this.#unremoved];
  }

  /**
   * Makes the workloads those of `configs`: what is gone is removed, what changed is changed live, under another name as
   * well, what is new is added. One whose target is another is a new one. Returns what failed, by name: of those, what
   * was in force before still is.
   */
  async reconcile(configs: readonly WorkloadConfig[]): Promise<Map<string, Error>> {
    const { failures, identities } = resolveAll(configs, new Set(this.workloads.keys()));
    const attempt = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        failures.set(name, error as Error);
      }
    };
    const owners = new Map([...identities].map(([name, identity]) => [identity, name]));
    const renamed = new Map<string, Workload>();
    for (const [name, workload] of [...this.workloads]) {
      const owner = owners.get(workload.targetIdentity);
      // Wanted, but what its name leads to now cannot be had: it goes on as it is.
      const kept = owner === undefined && failures.has(name);
      if (owner === name || kept) continue;
      if (owner === undefined) await attempt(name, () => this.remove(name));
      else renamed.set(owner, workload);
    }
    for (const config of configs) {
      const workload = renamed.get(config.name);
      if (workload) await attempt(config.name, () => this.#rename(workload, config));
    }
    for (const config of configs) {
      const { name } = config;
      if (failures.has(name)) continue;
      const workload = this.workloads.get(name);
      if (!workload) await attempt(name, () => this.add(config));
      else if (!isDeepStrictEqual(workload.config, config)) await attempt(name, () => workload.update(config));
    }
    this.#followVerdicts();
    try {
      this.ebpf.unloadUnused();
    } catch (err) {
      this.options.log.error({ err }, "programs that nobody uses not unloaded");
    }
    return failures;
  }

  /** Whoever has the name now is called something else until it is its turn: rules of two workloads must not mix. */
  async #rename(workload: Workload, config: WorkloadConfig): Promise<void> {
    const holder = this.workloads.get(config.name);
    if (holder) await this.#rename(holder, { ...holder.config, name: `${holder.config.name}~` });
    const before = workload.config.name;
    await workload.update(config);
    this.workloads.delete(before);
    this.workloads.set(config.name, workload);
  }

  /** Ends the enrolments of an earlier process that are not wanted any more. */
  releaseLeftovers(): void {
    const slots = [...this.workloads.values()].map((w) => scopeOf(w)?.slot).filter((slot) => slot !== undefined);
    this.ebpf.releaseOthers(new Set(slots));
  }

  /** Gives everything back: to the last step, and throws an AggregateError when one of them failed. */
  async stop(): Promise<void> {
    clearInterval(this.#sweeper);
    this.drift[Symbol.dispose]();
    this.foreignRules[Symbol.dispose]();
    this.#unfollowVerdicts();
    const steps = new EveryStep();
    for (const name of [...this.workloads.keys()]) await steps.run(() => this.remove(name));
    steps.runSync(() => this.ebpf.remove());
    await steps.run(() => this.pool[Symbol.asyncDispose]());
    // Last: what its programs have moved may still be read.
    steps.runSync(() => this.acceleration[Symbol.dispose]());
    steps.throwIfAny("not everything was given back");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #context(): WorkloadContext {
    const { timeouts, log, onTrace, inherited = new Map() } = this.options;
    const { ebpf, pool, acceleration } = this;
    return { timeouts, log, ebpf, pool, acceleration, inherited, ...(onTrace && { onTrace }) };
  }

  /** Verdicts of traced workloads go to the log; one that is traced from a reload on is covered as well. */
  #followVerdicts(): void {
    const { instance } = this.ebpf;
    if (this.#events || !instance) return;
    this.#events = followEvents(instance, (event) => {
      const workload = [...this.workloads.values()].find((candidate) => scopeOf(candidate)?.slot === event.slot);
      const { direction, verdict, reason, pid } = event;
      const source = formatEndpoint({ address: event.source, port: event.sourcePort });
      const destination = formatEndpoint({ address: event.destination, port: event.destinationPort });
      this.options.log.info(
        { workload: workload?.config.name, direction, verdict, reason, source, destination, pid },
        "verdict",
      );
    });
  }

  #unfollowVerdicts(): void {
    this.#events?.[Symbol.dispose]();
    this.#events = undefined;
  }

  #sweep(): void {
    if (!this.ebpf.instance) return;
    const external = [...this.workloads.values()]
      .filter((w) => w.config.proxy.external)
      .map((w) => scopeOf(w)?.slot ?? 0);
    sweepOriginals(this.ebpf.instance, new Set(external));
    sweepOwnFlows(this.ebpf.instance);
    sweepHops(this.ebpf.instance);
  }
}

function logPoolEvent(log: Logger, event: WorkerPoolEvent): void {
  const { kind, ...fields } = event;
  if (kind === "worker-replaced") log.info(fields, "worker replaced");
  else log.error(fields, kind.replaceAll("-", " "));
}

/** The kernel's side of a workload, where eBPF is part of its mode. */
export function scopeOf(workload: Workload): WorkloadScope | undefined {
  return partsOf(workload.selected.interception).find((part) => part instanceof WorkloadScope);
}
