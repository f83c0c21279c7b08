// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../../config/model.ts";
import type { DnsCounters } from "../../dns/dns-counters.ts";
import type { BackendName, Drift } from "../../intercept/backend.ts";
import type { Selected } from "../../intercept/select.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { EveryStep } from "../../util/every-step.ts";
import { reachesIn } from "../appliers.ts";
import { ExistingConnections } from "../existing-connections.ts";
import type { HostChange } from "../host-change.ts";
import { toInterceptSpec } from "../intercept-spec.ts";
import { lastingPath } from "../lasting-netns.ts";
import type { WorkloadTrace } from "../scope-lock.ts";
import { problemOf, type ResolvedTarget, resolveTarget, retarget } from "../target.ts";
import { watchAddresses } from "../watch-addresses.ts";
import { type DriftRecord, describeDrift } from "./drift-record.ts";
import { HostAdditions } from "./host-additions.ts";
import { Settling } from "./settling.ts";
import type { WorkloadContext } from "./workload-context.ts";
import { type EndpointSet, WorkloadEndpoints, type WorkloadListener } from "./workload-endpoints.ts";
import { type SocketSource, WorkloadInterception } from "./workload-interception.ts";

/**
 * One workload in force: its listeners inside its namespace, the interception that leads there, and what was changed on
 * the host for it. Made by `start`, changed live by `update`; `remove` gives everything back, disposing only lets go.
 */
export class Workload implements AsyncDisposable {
  readonly startedAt = new Date();
  readonly #context: WorkloadContext;
  readonly #endpoints: WorkloadEndpoints;
  readonly #host: HostAdditions;
  readonly #existing: ExistingConnections;
  #config: WorkloadConfig;
  #target: ResolvedTarget;
  #interception: WorkloadInterception | undefined;
  /** What listens for it. */
  #set: EndpointSet | undefined;
  #watcher: Disposable | undefined;
  #settling: Settling | undefined;
  #drift: DriftRecord | undefined;
  /** Changes come one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(config: WorkloadConfig, context: WorkloadContext) {
    this.#config = config;
    this.#context = context;
    this.#target = resolveTarget(config.target);
    const { netns, target } = this.#target;
    this.#endpoints = new WorkloadEndpoints(context, netns, (socket) =>
      this.#interception?.selected.interception.setInboundListener(socket),
    );
    this.#host = new HostAdditions(netns, context.inherited.get(pathOf(this.#target)));
    this.#existing = new ExistingConnections(target, netns);
  }

  /** Intercepts; rejects, leaving nothing behind, when no mode that was asked for works. */
  static async start(config: WorkloadConfig, context: WorkloadContext): Promise<Workload> {
    const workload = new Workload(config, context);
    try {
      await workload.#begin();
    } catch (error) {
      await workload.remove().catch((err: unknown) => {
        context.log.error({ workload: config.name, err }, "what was begun was not all taken back");
      });
      throw error;
    }
    return workload;
  }

  get config(): WorkloadConfig {
    return this.#config;
  }

  get spec(): InterceptSpec {
    return this.#inForce.spec;
  }

  get selected(): Selected {
    return this.#inForce.selected;
  }

  /** What captures nothing any more, but stays until connections that came by it have ended. */
  get outgoing(): readonly BackendName[] {
    return this.#inForce.outgoing;
  }

  get netns(): ResolvedTarget["netns"] {
    return this.#target.netns;
  }

  /** What listens for the workload, DNS included. */
  get listeners(): readonly WorkloadListener[] {
    return this.#endpoints.listeners;
  }

  /** The target, whatever name it goes by; see ResolvedTarget. */
  get targetKey(): string {
    return this.#target.key;
  }

  get targetIdentity(): string {
    return this.#target.identity;
  }

  /** What has become of the target since the start; undefined while its name still leads to it. */
  get targetProblem(): string | undefined {
    return problemOf(this.#target, this.#config.target);
  }

  /** What an external proxy fails to do; undefined when it listens, and for a proxy of our own. */
  get proxyProblem(): string | undefined {
    return this.#endpoints.externalProblem;
  }

  /** Connections from before the enrolment: no interception can move them. */
  get existing(): ExistingConnections {
    return this.#existing;
  }

  /** What was changed on the host besides programs and rules. */
  get hostChanges(): readonly HostChange[] {
    return this.#host.changes;
  }

  /** What must be undone, and where, should this process not come to it. */
  get trace(): WorkloadTrace {
    const rules = this.#interception?.rules;
    return { ...this.#traceOf(this.#config), ...(rules && { rules }) };
  }

  /** What was found to differ from what should be in force; undefined when nothing ever was. */
  get drift(): DriftRecord | undefined {
    return this.#drift;
  }

  get dnsCounters(): DnsCounters | undefined {
    return this.#endpoints.dnsCounters;
  }

  /**
   * Applies a changed configuration of the same target live. Established connections go on as they are; new ones find
   * the old configuration in force or the new one, at every moment. When it rejects, the old one still is.
   */
  update(config: WorkloadConfig): Promise<void> {
    return this.#inTurn(async () => {
      const inForce = this.#inForce;
      this.#settling?.[Symbol.dispose]();
      using _lease = this.#context.ebpf.lease();
      try {
        const target = retarget(this.#target, config.target);
        await this.#bring(config, target, async (next) => {
          await this.#endpoints.start(next, inForce);
          await inForce.change(config.mode, this.#compile(next, target), this.#socketsOf(next));
        });
      } finally {
        // Also when it was refused: listeners may have been told of what is not coming.
        if (this.#set) await this.#endpoints.reroute(this.#set, inForce);
        this.#settle();
      }
    });
  }

  /** Compares what is in force with what should be, and repairs it. Rejects when it cannot be compared. */
  verify(): Promise<void> {
    return this.#inTurn(async () => {
      const inForce = this.#interception;
      // What is in force for a target that is gone has gone with it.
      if (!inForce || this.targetProblem !== undefined) return;
      const differences = async (): Promise<readonly Drift[]> => [
        ...(await inForce.verify()),
        ...(await this.#host.verify()),
      ];
      const drift = await differences();
      if (drift.length === 0) {
        if (this.#drift?.problem !== undefined) this.#drift = { ...this.#drift, problem: undefined };
        return;
      }
      const last = drift.map(describeDrift);
      const found = (this.#drift?.found ?? 0) + drift.length;
      const { name } = this.#config;
      let problem: string | undefined;
      try {
        await inForce.repair();
        await this.#host.repair();
        const left = (await differences()).map(describeDrift);
        if (left.length > 0) problem = `still after repair: ${left.join(", ")}`;
      } catch (error) {
        problem = (error as Error).message;
      }
      this.#drift = { found, time: new Date(), last, problem };
      const { log } = this.#context;
      if (problem === undefined) log.warn({ workload: name, drift: last }, "drift repaired");
      else log.error({ workload: name, drift: last, problem }, "drift not repaired");
    });
  }

  /**
   * Ends interception first, so that nobody is led to a listener that is about to close. Goes on to the last step when one
   * fails, and throws an AggregateError then.
   */
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      const steps = new EveryStep();
      this.#stopWatching(steps);
      const interception = this.#interception;
      if (interception) {
        await interception.pass().catch(() => {
          // Then the removal fails as well, and says why.
        });
        if (interception.needsConnections) await steps.run(() => this.#endpoints.closeListeners());
        await interception.remove(steps);
      }
      await steps.run(() => this.#endpoints.close());
      await this.#host.remove(steps);
      steps.runSync(() => this.#target.netns[Symbol.dispose]());
      steps.throwIfAny(`workload "${this.#config.name}" not removed`);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#inTurn(async () => {
      const steps = new EveryStep();
      this.#stopWatching(steps);
      steps.runSync(() => this.#interception?.[Symbol.dispose]());
      await steps.run(() => this.#endpoints.close());
      steps.runSync(() => this.#target.netns[Symbol.dispose]());
      steps.throwIfAny(`workload "${this.#config.name}" not let go`);
    });
  }

  async #begin(): Promise<void> {
    const { netns } = this.#target;
    const { log } = this.#context;
    const { name, mode: requested } = this.#config;
    await this.#bring(this.#config, this.#target, async (next) => {
      await this.#existing.remember();
      const spec = this.#compile(next, this.#target);
      this.#interception = await WorkloadInterception.start(
        this.#context,
        netns,
        requested,
        spec,
        this.#socketsOf(next),
      );
      await this.#endpoints.start(next, this.#interception);
    });
    this.#watcher = watchAddresses(netns, (addresses) => this.selected.interception.setLocalAddresses(addresses));
    const { mode, reason } = this.selected;
    if (reason !== "" && requested === "auto") log.warn({ workload: name, mode, reason }, "fell back");
    log.info({ workload: name, mode }, "workload intercepted");
  }

  /** Opens what `config` needs, has `intercept` lead there, and lets what is no longer needed run out. */
  async #bring(
    config: WorkloadConfig,
    target: ResolvedTarget,
    intercept: (next: EndpointSet) => Promise<void>,
  ): Promise<void> {
    const next = await this.#endpoints.open(
      config,
      reachesIn(this.#interception?.selected.mode ?? "ebpf", config.interfaces),
    );
    try {
      await this.#host.plan(config);
      // Not yet by whose rules.
      this.#context.onTrace?.(this.#traceOf(config));
      await this.#host.add();
      await intercept(next);
    } catch (error) {
      await this.#endpoints.discard(next);
      throw error;
    }
    this.#endpoints.adopt(next, this.selected);
    this.#config = config;
    this.#target = target;
    this.#set = next;
  }

  /** What is kept for connections of before goes when they have ended. */
  #settle(): void {
    const inForce = this.#inForce;
    const exceeding = this.#host.exceeds(this.#config);
    if (!inForce.unsettled && !exceeding) return;
    const depends = (connection: OpenConnection): boolean =>
      inForce.depends(connection) || (exceeding && connection.direction === "inbound");
    const settling = new Settling(
      this.#context.pool,
      () =>
        this.#endpoints
          .connections()
          .filter(depends)
          .map(({ id }) => id),
      () =>
        void this.#inTurn(async () => {
          if (this.#settling !== settling) return;
          const steps = new EveryStep();
          inForce.forgetFormer();
          await steps.run(async () => this.#set && this.#endpoints.reroute(this.#set, inForce));
          await steps.run(() => inForce.settle());
          await this.#host.reduce(this.#config, steps);
          steps.runSync(() => this.#context.ebpf.unloadUnused());
          this.#context.onTrace?.(this.trace);
          for (const err of steps.errors) this.#context.log.error({ workload: this.#config.name, err }, "not settled");
        }),
    );
    this.#settling = settling;
  }

  /** The sockets of what is coming, as interception asks for them. */
  #socketsOf(next: EndpointSet): SocketSource {
    const endpoints = this.#endpoints;
    return {
      newSockets: () => endpoints.toHandOver(next, "new alone"),
      sockets: () => endpoints.toHandOver(next, "with known"),
      listen: (reaches) => endpoints.move(next, reaches, this.#interception),
      expectAll: () => endpoints.reroute(next, this.#inForce),
      lead: (selected) => endpoints.lead(next, selected),
    };
  }

  #compile(next: EndpointSet, { target }: ResolvedTarget): InterceptSpec {
    return toInterceptSpec(next.config, target, this.#endpoints.factsOf(next));
  }

  #traceOf({ name }: WorkloadConfig): WorkloadTrace {
    const { key, netns } = this.#target;
    return { workload: name, target: key, netns: lastingPath(netns), ...this.#host.trace };
  }

  get #inForce(): WorkloadInterception {
    if (!this.#interception) throw new Error("the workload has not started");
    return this.#interception;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  #stopWatching(steps: EveryStep): void {
    this.#settling?.[Symbol.dispose]();
    this.#settling = undefined;
    steps.runSync(() => this.#watcher?.[Symbol.dispose]());
    steps.runSync(() => this.#endpoints.stopWatching());
  }
}

function pathOf({ target }: ResolvedTarget): string {
  return target.kind === "netns" ? target.path : target.netnsPath;
}
