// SPDX-License-Identifier: Apache-2.0
import { formatTarget, type WorkloadConfig } from "../config/model.ts";
import type { DnsCounters } from "../dns/dns-counters.ts";
import type { Interception } from "../intercept/backend.ts";
import { partsOf } from "../intercept/composite.ts";
import type { EbpfBackend } from "../intercept/ebpf/backend.ts";
import { IptablesInterception } from "../intercept/iptables/interception.ts";
import { passAll } from "../intercept/pass-all.ts";
import { type RequestedMode, type Selected, selectInterception } from "../intercept/select.ts";
import type { InterceptSpec } from "../intercept/spec.ts";
import { EveryStep } from "../util/every-step.ts";
import type { Logger } from "../util/log.ts";
import { ExistingConnections } from "./existing-connections.ts";
import { ExternalListeners } from "./external-listeners.ts";
import type { HostChange } from "./host-change.ts";
import { toInterceptSpec } from "./intercept-spec.ts";
import { lastingPath } from "./lasting-netns.ts";
import { addPassthroughAddress, hasPassthroughAddress } from "./passthrough-address.ts";
import { addPreserveSourceRouting, readAcceptMarks } from "./preserve-source.ts";
import { ProxyListeners, type ProxyTimeouts } from "./proxy-listeners.ts";
import type { WorkloadTrace } from "./scope-lock.ts";
import { identityNow, type ResolvedTarget, resolveTarget } from "./target.ts";
import { watchAddresses } from "./watch-addresses.ts";
import type { WorkerPool } from "./worker-pool.ts";
import { WorkloadDns } from "./workload-dns.ts";

export interface WorkloadContext {
  readonly mode: RequestedMode;
  readonly ebpf: EbpfBackend;
  readonly pool: WorkerPool;
  readonly timeouts: ProxyTimeouts;
  readonly log: Logger;
  /** What an agent of this name left that was killed, by namespace path: ours to undo, at the end. */
  readonly inherited: ReadonlyMap<string, WorkloadTrace>;
  /** Called before the host is changed, so that the change can be undone however this process ends. */
  readonly onTrace?: (trace: WorkloadTrace) => void;
}

/**
 * One workload in force: its listeners inside its namespace, the interception that leads there, and what was changed
 * on the host for it. Made by `start`; `remove` gives everything back, disposing only lets go.
 */
export class Workload implements AsyncDisposable {
  #config: WorkloadConfig;
  readonly #context: WorkloadContext;
  readonly #resolved: ResolvedTarget;
  readonly #listeners: ProxyListeners;
  readonly #dns: WorkloadDns;
  readonly #changes: HostChange[] = [];
  readonly startedAt = new Date();
  readonly #existing: ExistingConnections;
  #added: Pick<WorkloadTrace, "passthroughAddress" | "fwmarkAccept"> = { passthroughAddress: false };
  #watcher: Disposable | undefined;
  #external: ExternalListeners | undefined;
  #selected: Selected | undefined;
  #spec: InterceptSpec | undefined;
  /** Starts that were to follow this one and failed; the interception they left in force ends with this one's. */
  readonly #failedSuccessors: Workload[] = [];

  private constructor(config: WorkloadConfig, context: WorkloadContext) {
    this.#config = config;
    this.#context = context;
    this.#resolved = resolveTarget(config.target);
    const { netns } = this.#resolved;
    this.#listeners = new ProxyListeners(config, netns, context.pool, context.timeouts);
    this.#dns = new WorkloadDns(config, netns, context.log);
    this.#existing = new ExistingConnections(this.#resolved.target, netns);
  }

  /**
   * Intercepts; rejects, leaving nothing behind, when no mode that was asked for works. What a `predecessor` of the same
   * target, stood down, has in force goes over to the new one; when that fails it stays in force.
   */
  static async start(config: WorkloadConfig, context: WorkloadContext, predecessor?: Workload): Promise<Workload> {
    const workload = new Workload(config, context);
    try {
      await workload.#begin();
    } catch (error) {
      if (predecessor) {
        await workload.standDown();
        predecessor.#failedSuccessors.push(workload);
      } else {
        await workload.remove().catch((err: unknown) => {
          context.log.error({ workload: config.name, err }, "what was begun was not all taken back");
        });
      }
      throw error;
    }
    await predecessor?.retire(workload.selected.interception).catch((err: unknown) => {
      context.log.error({ workload: config.name, err }, "what went before was not all taken back");
    });
    return workload;
  }

  get config(): WorkloadConfig {
    return this.#config;
  }

  get spec(): InterceptSpec {
    if (!this.#spec) throw new Error("the workload has not started");
    return this.#spec;
  }

  get selected(): Selected {
    if (!this.#selected) throw new Error("the workload has not started");
    return this.#selected;
  }

  get netns(): ResolvedTarget["netns"] {
    return this.#resolved.netns;
  }

  /** What listens for the workload, DNS included. */
  get listeners(): readonly {
    direction: "outbound" | "inbound" | "dns";
    protocol: "tcp" | "udp";
    address: string;
    port: number;
  }[] {
    return [
      ...[...this.#listeners.endpoints, ...(this.#external?.endpoints ?? [])].map((endpoint) => ({
        ...endpoint,
        protocol: "tcp" as const,
      })),
      ...this.#dns.endpoints,
    ];
  }

  /** The target, whatever name it goes by; see ResolvedTarget. */
  get targetKey(): string {
    return this.#resolved.key;
  }

  get targetIdentity(): string {
    return this.#resolved.identity;
  }

  /** What has become of the target since the start; undefined while its name still leads to it. */
  get targetProblem(): string | undefined {
    const now = identityNow(this.#resolved.target);
    if (now === this.#resolved.identity) return undefined;
    const name = formatTarget(this.#config.target);
    return now === undefined
      ? `the target ${name} is gone`
      : `the target ${name} was made anew; what it is now is not intercepted before the configuration is applied again`;
  }

  /** What an external proxy fails to do; undefined when it listens, and for a proxy of our own. */
  get proxyProblem(): string | undefined {
    return this.#external?.problem;
  }

  /** Connections from before the enrolment: no interception can move them. */
  get existing(): ExistingConnections {
    return this.#existing;
  }

  /** What was changed on the host besides programs and rules. */
  get hostChanges(): readonly HostChange[] {
    return this.#changes;
  }

  /** What must be undone, and where, should this process not come to it. */
  get trace(): WorkloadTrace {
    const { key, netns } = this.#resolved;
    return {
      workload: this.#config.name,
      target: key,
      netns: lastingPath(netns),
      ...this.#added,
      ...(this.#selected === undefined ? {} : { mode: this.#selected.mode }),
    };
  }

  get dnsCounters(): DnsCounters | undefined {
    return this.#dns.counters;
  }

  /**
   * Applies a changed configuration live. The target and the ports of the listeners stay what they are. When it rejects,
   * what was in force before still is.
   */
  async update(config: WorkloadConfig): Promise<void> {
    const spec = this.#compile(config);
    await this.selected.interception.update(spec);
    this.#config = config;
    this.#spec = spec;
    await this.#listeners.update(config, this.#context.timeouts);
  }

  /**
   * Ends interception first, so that nobody is led to a listener that is about to close. Goes on to the last step when one
   * fails, and throws an AggregateError then.
   */
  async remove(): Promise<void> {
    const steps = new EveryStep();
    const { interception, mode } = this.#selected ?? {};
    const spec = this.#spec;
    this.#stopWatching(steps);
    if (interception && spec && mode !== "ebpf") {
      // Rules go when the connections they redirected have ended; new ones pass from now on.
      await interception.update(passAll(spec)).catch(() => {
        // Then the removal fails as well, and says why.
      });
      await steps.run(() => this.#listeners[Symbol.asyncDispose]());
    }
    if (interception) await steps.run(() => interception.remove());
    await this.#closeListeners(steps);
    await this.#removeChanges(steps);
    steps.runSync(() => this.#resolved.netns[Symbol.dispose]());
    steps.throwIfAny(`workload "${this.#config.name}" not removed`);
  }

  /**
   * Makes room for a successor: listeners close and changes of the host go, but the interception stays in force, so that
   * in between connections meet the fail mode. `retire` ends it.
   */
  async standDown(): Promise<void> {
    const steps = new EveryStep();
    this.#stopWatching(steps);
    steps.runSync(() => this.#selected?.interception[Symbol.dispose]());
    await this.#closeListeners(steps);
    await this.#removeChanges(steps);
    for (const err of steps.errors) this.#context.log.error({ workload: this.#config.name, err }, "not taken back");
  }

  /** After `standDown`: ends what is still in force, but for what `successor` has taken over. */
  async retire(successor?: Interception): Promise<void> {
    const steps = new EveryStep();
    const takenOver = new Set(successor && partsOf(successor).map(({ backend }) => backend));
    const { interception } = this.#selected ?? {};
    for (const part of interception ? partsOf(interception) : []) {
      // Rules of one name are replaced as a whole; a scope knows by itself who has it now.
      if (part.backend === "iptables" && takenOver.has("iptables")) continue;
      await steps.run(() => part.remove());
    }
    for (const failed of this.#failedSuccessors.splice(0)) await steps.run(() => failed.retire(successor));
    steps.runSync(() => this.#resolved.netns[Symbol.dispose]());
    steps.throwIfAny(`workload "${this.#config.name}" not removed`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const steps = new EveryStep();
    this.#stopWatching(steps);
    steps.runSync(() => this.#selected?.interception[Symbol.dispose]());
    await this.#closeListeners(steps);
    steps.runSync(() => this.#resolved.netns[Symbol.dispose]());
    steps.throwIfAny(`workload "${this.#config.name}" not let go`);
  }

  #stopWatching(steps: EveryStep): void {
    steps.runSync(() => this.#watcher?.[Symbol.dispose]());
    steps.runSync(() => this.#external?.[Symbol.dispose]());
  }

  async #closeListeners(steps: EveryStep): Promise<void> {
    await steps.run(() => this.#listeners[Symbol.asyncDispose]());
    await steps.run(() => this.#dns[Symbol.asyncDispose]());
  }

  async #removeChanges(steps: EveryStep): Promise<void> {
    for (const change of this.#changes.splice(0).reverse()) await steps.run(() => change.remove());
  }

  async #begin(): Promise<void> {
    const { netns, target } = this.#resolved;
    const { log } = this.#context;
    await this.#dns.open();
    this.#listeners.open();
    this.#spec = this.#compile(this.#config);
    const netnsPath = target.kind === "netns" ? target.path : target.netnsPath;
    const changes = this.#config.inbound.enabled;
    if (changes) await this.#planChanges(netnsPath);
    this.#context.onTrace?.(this.trace);
    if (changes) await this.#changeHost();
    await this.#existing.remember();
    this.#selected = await selectInterception(
      this.#context.mode,
      this.#spec,
      (spec) => this.#context.ebpf.apply(spec, netns, this.#listeners.inbound),
      async (spec) => {
        if (spec.inbound) this.#listeners.listenOnAnyAddressInbound();
        const rules = await IptablesInterception.apply(spec, netns);
        for (const warning of rules.warnings) log.warn({ workload: this.#config.name }, warning);
        return rules;
      },
    );
    const { interception, mode, reason } = this.#selected;
    await this.#listeners.start(interception);
    await this.#dns.start(interception);
    if (this.#config.proxy.external) this.#watchExternalProxy(this.#selected);
    this.#watcher = watchAddresses(netns, (addresses) => interception.setLocalAddresses(addresses));
    if (reason !== "" && this.#context.mode === "auto")
      log.warn({ workload: this.#config.name, mode, reason }, "fell back");
    log.info({ workload: this.#config.name, mode }, "workload intercepted");
  }

  /** Rules find the listener by its port, sk_lookup needs to be given it. */
  #watchExternalProxy({ interception, mode }: Selected): void {
    const { outbound, inbound } = this.#config;
    const { outboundPort, inboundPort } = this.#listeners.ports;
    const ports = {
      ...(outbound.enabled ? { outboundPort } : {}),
      ...(inbound.enabled ? { inboundPort } : {}),
    };
    this.#external = new ExternalListeners(this.#resolved.netns, ports, this.#context.log);
    if (inbound.enabled && mode === "ebpf") this.#external.watch(interception);
  }

  /** An address that is there already, and not left by an agent before us, is not ours to remove. */
  async #planChanges(netnsPath: string): Promise<void> {
    const { netns } = this.#resolved;
    const inherited = this.#context.inherited.get(netnsPath);
    const passthroughAddress =
      netns.hasIpv6() && (inherited?.passthroughAddress === true || !hasPassthroughAddress(netns));
    // The address is for an unmodified sidecar as well, as istio-iptables adds it; the routing is of no use to one.
    const { inbound, proxy } = this.#config;
    this.#added =
      inbound.preserveSource && !proxy.external
        ? { passthroughAddress, fwmarkAccept: inherited?.fwmarkAccept ?? (await readAcceptMarks(netnsPath)) }
        : { passthroughAddress };
  }

  async #changeHost(): Promise<void> {
    const { netns } = this.#resolved;
    const { passthroughAddress, fwmarkAccept } = this.#added;
    if (passthroughAddress) this.#changes.push(...addPassthroughAddress(netns));
    if (fwmarkAccept !== undefined) this.#changes.push(...(await addPreserveSourceRouting(netns, fwmarkAccept)));
  }

  #compile(config: WorkloadConfig): InterceptSpec {
    return toInterceptSpec(config, this.#resolved.target, {
      ...this.#listeners.ports,
      dnsPort: this.#dns.port,
      moreDnsPorts: this.#dns.morePorts,
      resolvers: this.#dns.resolvers,
    });
  }
}
