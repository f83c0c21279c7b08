// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import {
  type BackendName,
  type Direction,
  type Drift,
  type InboundListener,
  type InterceptionPart,
  type RulesName,
  rulesOf,
} from "../../intercept/backend.ts";
import { type Half, halvesOf, partsOf, updateAll } from "../../intercept/composite.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import { interceptionOf, type OriginalDestinationSource } from "../../intercept/original-destination.ts";
import type { OwnFlowsSource } from "../../intercept/own-flows.ts";
import { between, passAll } from "../../intercept/pass-all.ts";
import { backendsFor, type RequestedMode, type Selected, selectInterception } from "../../intercept/select.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import type { OpenConnection } from "../../proxy/open-connection.ts";
import { EveryStep } from "../../util/every-step.ts";
import { appliersFor, type Destinations, originalsBy } from "../appliers.ts";
import { exchange } from "./exchange.ts";
import type { ConnectionsSource } from "./listener-route.ts";
import type { Reaches } from "./proxy-listeners.ts";
import type { WorkloadContext } from "./workload-context.ts";

/** The sockets an interception may be given. */
export interface SocketSource {
  /** Inbound sockets of the listeners. */
  sockets(): readonly InboundListener[];
  /** Those that what is in force does not lead to yet. */
  newSockets(): readonly InboundListener[];
  /** Has the listeners be where connections are about to be led. */
  listen(reaches: Partial<Reaches>): Promise<void>;
  /** Connections may come in other ways as well from now on; see `originals`. */
  expectAll(): Promise<void>;
  /** Another interception is in force beside the one of before, which is about to end. */
  lead(selected: Selected): void;
}

/** Captures nothing any more, but stays for connections that came by it. */
interface Outgoing {
  readonly part: InterceptionPart;
  /** When it was exchanged, ms of Date.now(): what came meanwhile may have come by either. */
  readonly from: number;
  readonly to: number;
}

/** In what other ways connections may still come, or come soon. */
interface Former {
  readonly outbound: readonly OriginalDestinationSource[];
  readonly inbound: readonly OriginalDestinationSource[];
  readonly ownFlows?: OwnFlowsSource;
}

const NOTHING: Former = { outbound: [], inbound: [] };

/**
 * What leads one workload's connections to its listeners. It can be changed, or exchanged for another, under connections
 * that go on: what they came by stays until `settle`.
 */
export class WorkloadInterception implements ConnectionsSource {
  readonly #context: WorkloadContext;
  readonly #netns: NetworkNamespace;
  #requested: RequestedMode;
  #selected: Selected;
  /** As the configuration has it. What is in force is more while connections go on that came by what was before. */
  #spec: InterceptSpec;
  #outgoing: readonly Outgoing[] = [];
  /** Until it is settled. */
  #former = NOTHING;

  private constructor(
    context: WorkloadContext,
    netns: NetworkNamespace,
    requested: RequestedMode,
    selected: Selected,
    spec: InterceptSpec,
  ) {
    this.#context = context;
    this.#netns = netns;
    this.#requested = requested;
    this.#selected = selected;
    this.#spec = spec;
  }

  /** Rejects, leaving nothing behind, when no mode that was asked for works. */
  static async start(
    context: WorkloadContext,
    netns: NetworkNamespace,
    mode: RequestedMode,
    spec: InterceptSpec,
    sockets: SocketSource,
  ): Promise<WorkloadInterception> {
    const selected = await selectInterception(mode, spec, appliersFor(destinations(context, netns, spec, sockets)));
    sockets.lead(selected);
    return new WorkloadInterception(context, netns, mode, selected, spec);
  }

  get selected(): Selected {
    return this.#selected;
  }

  get spec(): InterceptSpec {
    return this.#spec;
  }

  /** What captures nothing any more, but stays for connections that came by it. */
  get outgoing(): readonly BackendName[] {
    return this.#outgoing.map(({ part }) => part.backend);
  }

  /** Whose rules are there. */
  get rules(): readonly RulesName[] {
    const names = this.#all.map(({ backend }) => rulesOf(backend)).filter((name) => name !== undefined);
    return [...new Set(names)];
  }

  originals(direction: Direction): readonly OriginalDestinationSource[] {
    return unique([this.#selected.interception.originalDestination(direction), ...this.#former[direction]]);
  }

  ownFlows(): OwnFlowsSource | undefined {
    return this.#selected.interception.ownFlows() ?? this.#former.ownFlows;
  }

  /** Connections came by rules, and go on by them: those have to end first. */
  get needsConnections(): boolean {
    return this.#parts.some(({ dependence }) => Object.values(dependence).includes("translation"));
  }

  /** Whether something is kept in force that the configuration does not ask for. */
  get unsettled(): boolean {
    return (
      this.#outgoing.length > 0 ||
      this.#former !== NOTHING ||
      this.#halves.some(({ part, spec }) => !isDeepStrictEqual(part.spec, spec))
    );
  }

  /** Whether a connection depends on what the configuration does not ask for any more. */
  depends({ direction, interception, time }: OpenConnection): boolean {
    if (direction === "dns") return false;
    const at = Date.parse(time);
    return (
      this.#halves.some((half) => losesRules(half, direction)) ||
      this.#outgoing.some(({ part, from, to }) => {
        if (part.dependence[direction] === "nothing") return false;
        const label = interceptionOf(part.originalDestination(direction));
        return label === interception || (at >= from && at <= to);
      })
    );
  }

  /** When it rejects, what was in force before still is. */
  async change(mode: RequestedMode, spec: InterceptSpec, sockets: SocketSource): Promise<void> {
    if (this.#isOtherMode(mode)) {
      await this.#exchange(mode, spec, sockets);
    } else {
      try {
        const halves = halvesOf(this.#selected.interception, spec);
        const applied = halves.map((half) => ({ part: half.part, spec: between(half.part.spec, half.spec) }));
        await updateAll(applied, sockets.newSockets());
      } catch (error) {
        // What the kernel cannot do, another mode may be able to; what is merely wrong stays wrong.
        if (mode !== "auto" || !demandsMore(this.#spec, spec)) throw error;
        await this.#exchange(mode, spec, sockets);
      }
    }
    this.#requested = mode;
    this.#spec = spec;
    // Rules are found by the workload's name, also by who cleans up after us.
    for (const { part } of this.#outgoing)
      if (part.spec.name !== spec.name) await part.update({ ...part.spec, name: spec.name });
  }

  /** Nothing depends any more on what was before the last change; `originals` have to be told first. */
  async settle(): Promise<void> {
    const steps = new EveryStep();
    for (const { part, spec } of this.#halves)
      if (!isDeepStrictEqual(part.spec, spec)) await steps.run(() => part.update(spec));
    const outgoing = this.#outgoing;
    this.#outgoing = [];
    for (const { part } of outgoing) await steps.run(() => part.remove());
    steps.throwIfAny("what was in force before not removed");
  }

  /** Connections come by what is in force alone. */
  forgetFormer(): void {
    this.#former = NOTHING;
  }

  /** How what is in force differs from what should be. */
  async verify(): Promise<readonly Drift[]> {
    const all = await Promise.all(this.#all.map((part) => part.verify()));
    return all.flat();
  }

  async repair(): Promise<void> {
    const steps = new EveryStep();
    for (const part of this.#all) await steps.run(() => part.repair());
    steps.throwIfAny("not repaired");
  }

  /** Before `remove`, where `needsConnections`: new ones pass. */
  async pass(): Promise<void> {
    await updateAll(this.#parts.map((part) => ({ part, spec: passAll(part.spec) })));
  }

  async remove(steps: EveryStep): Promise<void> {
    const all = this.#all;
    this.#outgoing = [];
    for (const part of all) await steps.run(() => part.remove());
  }

  [Symbol.dispose](): void {
    for (const part of this.#all) part[Symbol.dispose]();
  }

  get #parts(): readonly InterceptionPart[] {
    return partsOf(this.#selected.interception);
  }

  get #halves(): readonly Half[] {
    return halvesOf(this.#selected.interception, this.#spec);
  }

  get #all(): readonly InterceptionPart[] {
    return [...this.#parts, ...this.#outgoing.map(({ part }) => part)];
  }

  /** Whether what is in force is not what `mode` asks for; `auto` is asked anew when it was not before. */
  #isOtherMode(mode: RequestedMode): boolean {
    if (mode === "auto") return this.#requested !== "auto";
    return mode !== this.#selected.mode;
  }

  async #exchange(mode: RequestedMode, spec: InterceptSpec, sockets: SocketSource): Promise<void> {
    const { log } = this.#context;
    const from = Date.now();
    const before = this.#selected;
    const former = this.#former;
    this.#former = this.#expected(mode);
    await sockets.expectAll();
    try {
      const { selected, outgoing, errors } = await exchange({
        mode,
        spec,
        inForce: before.interception,
        outgoing: this.#outgoing.map(({ part }) => part),
        destinations: destinations(this.#context, this.#netns, spec, sockets),
        onBoth: (next) => sockets.lead(next),
      });
      const to = Date.now();
      this.#selected = selected;
      this.#outgoing = outgoing.map(
        (part) => this.#outgoing.find((known) => known.part === part) ?? { part, from, to },
      );
      if (before.mode !== selected.mode)
        log.info({ workload: spec.name, from: before.mode, to: selected.mode }, "interception exchanged");
      for (const err of errors) log.error({ workload: spec.name, err }, "what was in force before not taken back");
    } catch (error) {
      this.#former = former;
      throw error;
    }
  }

  /** Where connections can be remembered while what is in force is exchanged for one of the back-ends of `mode`. */
  #expected(mode: RequestedMode): Former {
    const { ebpf } = this.#context;
    const backends = backendsFor(mode);
    const ownFlows = this.ownFlows() ?? (backends.includes("ebpf") ? ebpf.ownFlows(this.#netns) : undefined);
    const next = (direction: Direction): OriginalDestinationSource[] =>
      backends.flatMap((backend) => originalsBy(backend, direction, () => ebpf.originals(this.#netns)));
    return {
      outbound: unique([...this.originals("outbound"), ...next("outbound")]),
      inbound: unique([...this.originals("inbound"), ...next("inbound")]),
      ...(ownFlows && { ownFlows }),
    };
  }
}

function destinations(
  { ebpf, log }: WorkloadContext,
  netns: NetworkNamespace,
  { name }: InterceptSpec,
  sockets: SocketSource,
): Destinations {
  return {
    netns,
    ebpf,
    sockets: () => sockets.sockets(),
    listen: (reaches) => sockets.listen(reaches),
    warn: (message) => log.warn({ workload: name }, message),
  };
}

function unique(sources: readonly OriginalDestinationSource[]): readonly OriginalDestinationSource[] {
  return sources.filter((source, index) => sources.findIndex((other) => isDeepStrictEqual(source, other)) === index);
}

/** Rules that the configuration does not ask for any more, and that translate connections of this direction. */
function losesRules({ part, spec }: Half, direction: Direction): boolean {
  if (part.dependence[direction] !== "translation" || part.spec[direction] === undefined) return false;
  if (spec[direction] === undefined) return true;
  return direction === "inbound" && part.spec.inbound?.preserveMark !== spec.inbound?.preserveMark;
}

/** Whether `after` needs hooks that `before` did without. */
function demandsMore(before: InterceptSpec, after: InterceptSpec): boolean {
  const dns = (spec: InterceptSpec): boolean => spec.outbound !== undefined && spec.outbound.dns.kind !== "off";
  return (
    (after.outbound !== undefined && before.outbound === undefined) ||
    (after.inbound !== undefined && before.inbound === undefined) ||
    (dns(after) && !dns(before)) ||
    (after.proxy.external && !before.proxy.external)
  );
}
