// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { InboundListener, Interception } from "../../intercept/backend.ts";
import { partsOf } from "../../intercept/composite.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import { between, passAll } from "../../intercept/pass-all.ts";
import { type RequestedMode, type Selected, selectInterception } from "../../intercept/select.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { EveryStep } from "../../util/every-step.ts";
import { appliersFor } from "../appliers.ts";
import type { Reaches } from "./proxy-listeners.ts";
import type { WorkloadContext } from "./workload-context.ts";

/** The sockets an interception may be given. */
export interface SocketSource {
  /** Inbound sockets of the listeners that are new. */
  sockets(): readonly InboundListener[];
  /** Has the listeners be where connections are about to be led. */
  listen(reaches: Partial<Reaches>): Promise<void>;
  /** Connections may come by every kind of interception from now on. */
  expectAll(): Promise<void>;
}

/**
 * What leads one workload's connections to its listeners. It can be changed, or exchanged for another, under connections
 * that go on: what they came by stays until `settle`.
 */
export class WorkloadInterception {
  readonly #context: WorkloadContext;
  readonly #netns: NetworkNamespace;
  #selected: Selected;
  /** As the configuration has it. */
  #spec: InterceptSpec;
  /** What is in force: more than `#spec` while connections go on that came by what was before. */
  #applied: InterceptSpec;
  /** Rules that capture nothing any more, but must stay for the connections they once redirected. */
  readonly #outgoing: Interception[] = [];

  private constructor(context: WorkloadContext, netns: NetworkNamespace, selected: Selected, spec: InterceptSpec) {
    this.#context = context;
    this.#netns = netns;
    this.#selected = selected;
    this.#spec = spec;
    this.#applied = spec;
  }

  /** Rejects, leaving nothing behind, when no mode that was asked for works. */
  static async start(
    context: WorkloadContext,
    netns: NetworkNamespace,
    spec: InterceptSpec,
    sockets: SocketSource,
  ): Promise<WorkloadInterception> {
    const selected = await select(context, netns, context.mode, spec, sockets);
    return new WorkloadInterception(context, netns, selected, spec);
  }

  get selected(): Selected {
    return this.#selected;
  }

  get spec(): InterceptSpec {
    return this.#spec;
  }

  /** Connections came by rules, and go on by them: those have to end first. */
  get needsConnections(): boolean {
    return this.#selected.mode !== "ebpf";
  }

  /** Whether something is kept in force that the configuration does not ask for. */
  get unsettled(): boolean {
    return this.#outgoing.length > 0 || !isDeepStrictEqual(this.#applied, this.#spec);
  }

  /** Directions whose connections need what is kept in force: those that rules redirected. */
  get dependents(): readonly ("outbound" | "inbound")[] {
    if (this.#outgoing.length > 0) return ["outbound", "inbound"];
    const { mode } = this.#selected;
    const rules = mode !== "ebpf" && mode !== "mixed";
    const outbound = rules && this.#applied.outbound !== undefined && this.#spec.outbound === undefined;
    const inbound =
      mode !== "ebpf" &&
      this.#applied.inbound !== undefined &&
      (this.#spec.inbound === undefined || this.#applied.inbound.preserveMark !== this.#spec.inbound.preserveMark);
    return [...(outbound ? (["outbound"] as const) : []), ...(inbound ? (["inbound"] as const) : [])];
  }

  /** When it rejects, what was in force before still is. */
  async change(spec: InterceptSpec, sockets: SocketSource): Promise<void> {
    const applied = between(this.#applied, spec);
    try {
      await this.#selected.interception.update(applied, sockets.sockets());
    } catch (error) {
      // What the kernel cannot do, another mode may be able to; what is merely wrong stays wrong.
      if (this.#context.mode !== "auto" || !demandsMore(this.#applied, spec)) throw error;
      await this.#exchange(applied, sockets);
    }
    this.#applied = applied;
    this.#spec = spec;
  }

  /** Nothing depends any more on what was before the last change. */
  async settle(): Promise<void> {
    if (!isDeepStrictEqual(this.#applied, this.#spec)) await this.#selected.interception.update(this.#spec);
    this.#applied = this.#spec;
    const steps = new EveryStep();
    for (const part of this.#outgoing.splice(0)) await steps.run(() => part.remove());
    steps.throwIfAny("rules not removed");
  }

  /** Before `remove`, in modes with rules: rules go when the connections they redirected have ended; new ones pass. */
  async pass(): Promise<void> {
    if (this.#selected.mode !== "ebpf") await this.#selected.interception.update(passAll(this.#applied));
  }

  async remove(steps: EveryStep): Promise<void> {
    await steps.run(() => this.#selected.interception.remove());
    for (const part of this.#outgoing.splice(0)) await steps.run(() => part.remove());
  }

  [Symbol.dispose](): void {
    this.#selected.interception[Symbol.dispose]();
  }

  /** Another interception is applied beside the one in force, and then that one ends: no connection meets neither. */
  async #exchange(spec: InterceptSpec, sockets: SocketSource): Promise<void> {
    const before = this.#selected;
    await sockets.expectAll();
    // In force as it is, but its place in the kernel's tables is free for the next one to take over.
    before.interception[Symbol.dispose]();
    try {
      this.#selected = await select(this.#context, this.#netns, this.#context.mode, spec, sockets);
    } catch (error) {
      this.#selected = await select(this.#context, this.#netns, before.mode, this.#applied, sockets);
      throw error;
    }
    const next = new Set(partsOf(this.#selected.interception).map(({ backend }) => backend));
    const steps = new EveryStep();
    for (const part of partsOf(before.interception)) {
      if (part.backend === "ebpf") await steps.run(() => part.remove());
      // Rules of one name are replaced as a whole.
      else if (!next.has(part.backend)) {
        await steps.run(() => part.update(passAll(this.#applied)));
        this.#outgoing.push(part);
      }
    }
    for (const err of steps.errors) this.#context.log.error({ workload: spec.name, err }, "not taken back");
  }
}

function select(
  { ebpf, log }: WorkloadContext,
  netns: NetworkNamespace,
  mode: RequestedMode,
  asked: InterceptSpec,
  sockets: SocketSource,
): Promise<Selected> {
  const appliers = appliersFor({
    netns,
    ebpf,
    sockets: () => sockets.sockets(),
    listen: (reaches) => sockets.listen(reaches),
    warn: (message) => log.warn({ workload: asked.name }, message),
  });
  return selectInterception(mode, asked, appliers);
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
