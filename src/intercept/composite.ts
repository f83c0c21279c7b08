// SPDX-License-Identifier: Apache-2.0
import { EveryStep } from "../util/every-step.ts";
import type {
  BackendName,
  Direction,
  InboundListener,
  Interception,
  InterceptionPart,
  VerdictCounters,
} from "./backend.ts";
import type { OriginalDestinationSource } from "./original-destination.ts";
import type { OwnFlowsSource } from "./own-flows.ts";
import type { RuleFor } from "./rule-for.ts";
import type { InterceptSpec } from "./spec.ts";

/** The half of a spec that one of two back-ends sees. */
export function outboundOf(spec: InterceptSpec): InterceptSpec {
  const { inbound: _inbound, ...rest } = spec;
  // What arrives is the other half's.
  return { ...rest, dropInvalid: false };
}

export function inboundOf(spec: InterceptSpec): InterceptSpec {
  const { outbound: _outbound, ...rest } = spec;
  return rest;
}

/** What a workload has in force as a whole. */
export type WholeInterception = InterceptionPart | CompositeInterception;

/** A part, and what it has or is to have in force. */
export interface Half {
  readonly part: InterceptionPart;
  readonly spec: InterceptSpec;
}

/** The parts of an interception, each with what of `spec` is its own. */
export function halvesOf(whole: WholeInterception, spec: InterceptSpec): readonly Half[] {
  if (!(whole instanceof CompositeInterception)) return [{ part: whole, spec }];
  return [
    { part: whole.outbound, spec: outboundOf(spec) },
    { part: whole.inbound, spec: inboundOf(spec) },
  ];
}

/** The back-ends that take part. */
export function partsOf(whole: WholeInterception): readonly InterceptionPart[] {
  return whole instanceof CompositeInterception ? [whole.outbound, whole.inbound] : [whole];
}

/** All or none. `listeners` take inbound connections from then on. */
export async function updateAll(halves: readonly Half[], listeners: readonly InboundListener[] = []): Promise<void> {
  const done: Half[] = [];
  try {
    for (const { part, spec } of halves) {
      const before = { part, spec: part.spec };
      await part.update(spec, spec.inbound ? listeners : []);
      done.push(before);
    }
  } catch (error) {
    for (const { part, spec } of done) await part.update(spec);
    throw error;
  }
}

/** Mixed mode: one back-end outbound, another inbound. */
export class CompositeInterception implements Interception {
  readonly backend: BackendName;
  readonly outbound: InterceptionPart;
  readonly inbound: InterceptionPart;

  constructor(outbound: InterceptionPart, inbound: InterceptionPart) {
    this.outbound = outbound;
    this.inbound = inbound;
    this.backend = outbound.backend;
  }

  originalDestination(direction: Direction): OriginalDestinationSource {
    return this[direction].originalDestination(direction);
  }

  ownFlows(): OwnFlowsSource | undefined {
    return this.inbound.ownFlows();
  }

  setInboundListener(listener: InboundListener): void {
    this.inbound.setInboundListener(listener);
  }

  setLocalAddresses(addresses: readonly string[]): void {
    this.outbound.setLocalAddresses(addresses);
    this.inbound.setLocalAddresses(addresses);
  }

  async update(spec: InterceptSpec, listeners?: readonly InboundListener[]): Promise<void> {
    await updateAll(halvesOf(this, spec), listeners);
  }

  counters(): VerdictCounters | undefined {
    const outbound = this.outbound.counters();
    const inbound = this.inbound.counters();
    if (!outbound && !inbound) return undefined;
    return { outbound: outbound?.outbound ?? {}, inbound: (inbound ?? outbound)?.inbound ?? {} };
  }

  async refreshCounters(): Promise<void> {
    await this.outbound.refreshCounters?.();
    await this.inbound.refreshCounters?.();
  }

  readonly ruleFor: RuleFor = (spec, question, decision) => {
    const half = this[question.direction];
    return half.ruleFor?.(spec, question, decision) ?? half.backend;
  };

  async remove(): Promise<void> {
    const steps = new EveryStep();
    await steps.run(() => this.outbound.remove());
    await steps.run(() => this.inbound.remove());
    steps.throwIfAny("interception not removed");
  }

  [Symbol.dispose](): void {
    this.outbound[Symbol.dispose]();
    this.inbound[Symbol.dispose]();
  }
}
