// SPDX-License-Identifier: Apache-2.0
import { existsSync, statSync } from "node:fs";
import type { Maps } from "../../bpf/generated/types.ts";
import { EveryStep } from "../../util/every-step.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import type { Direction, Drift, InboundListener, InterceptionPart, VerdictCounters } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { OwnFlowsSource } from "../own-flows.ts";
import type { RuleFor } from "../rule-for.ts";
import type { InterceptSpec } from "../spec.ts";
import { ExcludedInterfaces } from "./excluded-interfaces.ts";
import type { Needs, Position } from "./hooks.ts";
import { InboundLookup } from "./inbound-lookup.ts";
import type { EbpfInstance } from "./instance.ts";
import { noteHomes } from "./note-homes.ts";
import { removeTree } from "./pins.ts";
import { plan } from "./plan.ts";
import { deletePolicies, PolicySet } from "./policy-set.ts";
import { ebpfRuleFor } from "./rule-for.ts";
import { deleteSurplus, drift, policyDrift, rowDrift } from "./scope-drift.ts";
import { type EnrolmentKey, NOBODY, type SlotTable } from "./slot-table.ts";
import { sumCounters } from "./verdict-counters.ts";

/** The slots that scopes of this process hold: one that was disposed of holds none. */
const holders = new WeakMap<SlotTable, Map<number, WorkloadScope>>();

function holdersOf(slots: SlotTable): Map<number, WorkloadScope> {
  const held = holders.get(slots) ?? new Map<number, WorkloadScope>();
  holders.set(slots, held);
  return held;
}

/** One enrolled workload: its row in the maps, its policy, and for inbound its own sk_lookup program. */
export class WorkloadScope implements InterceptionPart {
  readonly backend = "ebpf";
  /** sk_lookup decides about the beginning of a connection alone. */
  readonly dependence = { outbound: "peer-name", inbound: "nothing" } as const;
  readonly slot: number;
  readonly #instance: EbpfInstance;
  readonly #slots: SlotTable;
  readonly #netns: NetworkNamespace;
  readonly #cookie: bigint;
  /** Known once and for all: the cgroup itself may be gone when the workload ends. */
  readonly #key: EnrolmentKey;
  #spec: InterceptSpec;
  #policy: PolicySet;
  #interfaces: ExcludedInterfaces | undefined;
  #inbound: InboundLookup | undefined;
  #live = true;

  private constructor(instance: EbpfInstance, slots: SlotTable, netns: NetworkNamespace, spec: InterceptSpec) {
    this.#instance = instance;
    this.#slots = slots;
    this.#netns = netns;
    this.#spec = spec;
    this.#cookie = netns.cookie();
    const { target } = spec;
    this.#key =
      target.kind === "netns" ? { kind: "netns", id: this.#cookie } : { kind: "cgroup", id: cgroupId(target.path) };
    const bound = slots.slotOf(this.#key);
    const holder = bound === undefined ? undefined : holdersOf(slots).get(bound);
    if (holder)
      throw new ShuntError(
        "ERR_INTERCEPT_ENROLLED",
        `${this.#key.kind} ${this.#key.id} of workload "${spec.name}" is enrolled already, as "${holder.#spec.name}"`,
      );
    const policy = plan(spec);
    this.slot = bound ?? slots.allocate();
    this.#policy = new PolicySet(instance, slots.nextPolicy(), policy);
    holdersOf(slots).set(this.slot, this);
  }

  /**
   * From its return on connections are intercepted. What an earlier process, or a scope of this one that was disposed
   * of, left for the same target goes on under the new policy. When the kernel refuses something, the workload is as
   * it was before enrolment. Throws ERR_INTERCEPT_ENROLLED for a target that another scope of this process has.
   */
  static enrol(
    instance: EbpfInstance,
    slots: SlotTable,
    netns: NetworkNamespace,
    spec: InterceptSpec,
    listeners: readonly InboundListener[] = [],
  ): WorkloadScope {
    const scope = new WorkloadScope(instance, slots, netns, spec);
    const bound = slots.slotOf(scope.#key) !== undefined;
    const before = instance.map("workloads").get(scope.slot);
    try {
      scope.#policy.write();
      scope.#interfaces = scope.#exclude(spec, scope.#policy);
      scope.#enforce(spec, scope.#policy);
      scope.setLocalAddresses(netns.localAddresses());
      scope.#openInbound(spec, listeners);
      slots.bind(scope.#key, scope.slot);
      scope.#attach(spec);
    } catch (error) {
      if (bound && before) scope.#giveBack(before);
      else scope.#undo();
      throw error;
    }
    // Of an earlier enrolment that had another direction on.
    if (!spec.inbound) removeTree(instance.pins.workload(scope.slot));
    if (before && before.policy !== 0) deletePolicies(instance, (policy) => policy === before.policy);
    return scope;
  }

  get spec(): InterceptSpec {
    return this.#spec;
  }

  originalDestination(direction: Direction): OriginalDestinationSource {
    if (direction === "inbound") return { kind: "local-address" };
    return originalsOf(this.#instance, this.#cookie);
  }

  ownFlows(): OwnFlowsSource {
    return ownFlowsOf(this.#instance, this.#cookie);
  }

  setInboundListener(listener: InboundListener): void {
    this.#inbound?.setListener(listener);
  }

  setLocalAddresses(addresses: readonly string[]): void {
    this.#instance.localAddresses.set(this.#cookie, this, addresses);
  }

  async update(spec: InterceptSpec, listeners: readonly InboundListener[] = []): Promise<void> {
    const old = this.#policy;
    const policy = new PolicySet(this.#instance, this.#slots.nextPolicy(), plan(spec));
    const rows = this.#instance.map("workloads");
    const row = rows.get(this.slot);
    const opened = spec.inbound !== undefined && this.#inbound === undefined;
    let interfaces: ExcludedInterfaces | undefined;
    try {
      policy.write();
      interfaces = this.#exclude(spec, policy);
      this.#openInbound(spec, listeners);
      this.#attach(spec);
      // Ports first: a program that runs meanwhile must not find a direction on and its port missing.
      const { outboundPort, inboundPort, dnsPorts } = policy.plan.workload;
      const dns = dnsPorts[0] === 0 ? {} : { dnsPorts };
      if (row) rows.set(this.slot, { ...row, ...nonZero({ outboundPort, inboundPort }), ...dns });
      this.#enforce(spec, policy);
      if (!opened) for (const listener of listeners) this.setInboundListener(listener);
    } catch (error) {
      if (row) rows.set(this.slot, row);
      if (opened) this.#closeInbound();
      interfaces?.remove();
      policy.remove();
      throw error;
    }
    this.#spec = spec;
    this.#policy = policy;
    this.#interfaces?.remove();
    this.#interfaces = interfaces;
    old.remove();
    if (!spec.inbound) this.#closeInbound();
  }

  async verify(): Promise<readonly Drift[]> {
    const { target } = this.#spec;
    // A cgroup that is gone has taken its hooks along; that is told of the target.
    if (target.kind === "cgroup" && !existsSync(target.path)) return [];
    const lacking = this.#instance.localAddresses.missing(this.#cookie);
    const bound = this.#slots.slotOf(this.#key);
    const { kind, id } = this.#key;
    return [
      ...this.#instance.verify(...this.#hooksOf(this.#spec)),
      ...rowDrift(this.#instance, "workloads", this.slot, this.#rowOf(this.#spec, this.#policy)),
      ...policyDrift(this.#instance, this.#policy),
      ...(bound === this.slot ? [] : [drift(`${kind}_slots`, String(id), String(this.slot), bound?.toString())]),
      ...lacking.map((address) => drift("local_addrs", `netns ${this.#cookie}`, address, undefined)),
      ...(this.#inbound?.verify() ?? []),
    ];
  }

  /** Everything that decides first, the hooks that ask for it last. */
  async repair(): Promise<void> {
    this.#policy.write();
    this.#enforce(this.#spec, this.#policy);
    deleteSurplus(this.#instance, this.#policy);
    this.#instance.localAddresses.repair(this.#cookie);
    const lookup = this.#inbound;
    if (lookup && lookup.verify().length > 0) {
      lookup.repin();
      this.#inbound = new InboundLookup(this.#instance, this.slot, this.#netns, [], lookup.tellsInterfaces);
      lookup[Symbol.dispose]();
    }
    this.#slots.bind(this.#key, this.slot);
    this.#instance.repair(...this.#hooksOf(this.#spec));
  }

  counters(): VerdictCounters {
    return sumCounters(this.#instance.map("verdicts").get(this.slot));
  }

  readonly ruleFor: RuleFor = (_spec, question, decision) =>
    ebpfRuleFor({ slot: this.slot, policy: this.#policy.number }, question, decision);

  /** Asks the loaded sk_lookup program about a SYN; the cookie of the socket it chose, 0 for none. See InboundLookup.try. */
  tryInbound(context: Uint8Array): bigint {
    return this.#inbound?.try(context) ?? 0n;
  }

  /** Of a scope that was disposed of, what it left in force, unless another scope has taken that over. */
  async remove(): Promise<void> {
    if (this.#live) {
      this.#undo();
      return;
    }
    this.#instance.localAddresses.release(this.#cookie, this);
    if (this.#slots.slotOf(this.#key) === this.slot && !holdersOf(this.#slots).has(this.slot))
      this.#slots.evict(this.#key, this.slot);
  }

  [Symbol.dispose](): void {
    if (!this.#live) return;
    this.#letGo();
    this.#interfaces?.[Symbol.dispose]();
    this.#inbound?.[Symbol.dispose]();
  }

  #letGo(): void {
    this.#live = false;
    holdersOf(this.#slots).delete(this.slot);
  }

  #undo(): void {
    this.#letGo();
    const steps = new EveryStep();
    steps.runSync(() => this.#slots.unbind(this.#key));
    steps.runSync(() => this.#key.kind === "cgroup" && this.#instance.detachId(this.#key.id));
    steps.runSync(() => this.#closeInbound());
    steps.runSync(() => this.#instance.map("workloads").set(this.slot, NOBODY));
    steps.runSync(() => this.#interfaces?.remove());
    steps.runSync(() => this.#policy.remove());
    steps.runSync(() => this.#instance.localAddresses.release(this.#cookie, this));
    this.#slots.release(this.slot);
    steps.throwIfAny(`workload "${this.#spec.name}" not taken out of the kernel`);
  }

  /** The slot was in force before, and goes on as it was. */
  #giveBack(row: Maps["workloads"]["value"]): void {
    this.#letGo();
    this.#instance.map("workloads").set(this.slot, row);
    this.#inbound?.[Symbol.dispose]();
    this.#interfaces?.remove();
    this.#policy.remove();
    this.#instance.localAddresses.release(this.#cookie, this);
  }

  /** Makes a policy that has been written the workload's. */
  #enforce(spec: InterceptSpec, policy: PolicySet): void {
    this.#instance.map("workloads").set(this.slot, this.#rowOf(spec, policy));
  }

  #rowOf({ target, proxy }: InterceptSpec, policy: PolicySet): Maps["workloads"]["value"] {
    return {
      ...policy.plan.workload,
      netns: target.kind === "netns" ? this.#cookie : 0n,
      proxyCgroup: proxy.cgroup === undefined ? 0n : cgroupId(proxy.cgroup),
      policy: policy.number,
    };
  }

  #exclude({ interfaces }: InterceptSpec, { number }: PolicySet): ExcludedInterfaces | undefined {
    if (interfaces.exclude.length === 0) return undefined;
    return new ExcludedInterfaces(this.#instance, number, this.#netns, interfaces.exclude);
  }

  #openInbound({ inbound, interfaces }: InterceptSpec, listeners: readonly InboundListener[]): void {
    const before = this.#inbound;
    const tellsInterfaces = interfaces.exclude.length > 0;
    if (!inbound || before?.tellsInterfaces === tellsInterfaces) return;
    // Those of the program before are in the map, which the next one shares.
    const added = before ? [] : listeners;
    this.#inbound = new InboundLookup(this.#instance, this.slot, this.#netns, added, tellsInterfaces);
    before?.[Symbol.dispose]();
  }

  #closeInbound(): void {
    const lookup = this.#inbound;
    this.#inbound = undefined;
    lookup?.remove();
  }

  /** What listens before the hooks are there has to be known when they are; what does since, they see. */
  #attach(spec: InterceptSpec): void {
    this.#noteHomes(spec);
    this.#instance.attach(...this.#hooksOf(spec));
    this.#noteHomes(spec);
  }

  #noteHomes({ proxy, outbound, inbound }: InterceptSpec): void {
    if (!proxy.external || !this.#instance.needsHomes) return;
    const ports = [outbound?.port ?? 0, inbound?.port ?? 0].filter((port) => port !== 0);
    noteHomes(this.#instance.map("homes"), this.#netns, this.slot, ports);
  }

  #hooksOf({ outbound, proxy, target }: InterceptSpec): [Position, string, Needs] {
    const needs = {
      dns: outbound !== undefined && outbound.dns.kind !== "off",
      externalProxy: proxy.external,
    };
    if (target.kind === "cgroup" && !this.#instance.tagsReplaceCgroups) return ["cgroup", target.path, needs];
    // The programs ask for the cgroup of the process, which the root's meet as well.
    if (target.kind === "cgroup") return ["cgroup", this.#instance.options.cgroupRoot, needs];
    return ["root", this.#instance.options.cgroupRoot, needs];
  }
}

export function originalsOf(instance: EbpfInstance, netnsCookie: bigint): OriginalDestinationSource {
  return {
    kind: "ebpf-map",
    originalsFd: instance.map("originals").native.fd,
    datagramsFd: instance.map("dgram_origs").native.fd,
    hopsFd: instance.map("hops").native.fd,
    netnsCookie: String(netnsCookie),
  };
}

export function ownFlowsOf(instance: EbpfInstance, netnsCookie: bigint): OwnFlowsSource {
  return { ownFlowsFd: instance.map("own_flows").native.fd, netnsCookie: String(netnsCookie) };
}

function nonZero<Name extends string>(ports: Readonly<Record<Name, number>>): Partial<Record<Name, number>> {
  return Object.fromEntries(Object.entries(ports).filter(([, port]) => port !== 0)) as Partial<Record<Name, number>>;
}

/** The id of a cgroup v2 directory is its inode number (kernfs, 64-bit kernels). */
export function cgroupId(path: string): bigint {
  return statSync(path, { bigint: true }).ino;
}
