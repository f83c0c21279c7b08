// SPDX-License-Identifier: Apache-2.0
import { EveryStep } from "../util/every-step.ts";
import type { BackendName, Direction, InboundListener, Interception, VerdictCounters } from "./backend.ts";
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

/** The back-ends that take part. */
export function partsOf(interception: Interception): readonly Interception[] {
  return interception instanceof CompositeInterception ? [interception.outbound, interception.inbound] : [interception];
}

/** Mixed mode: one back-end outbound, another inbound. */
export class CompositeInterception implements Interception {
  readonly backend: BackendName;
  readonly outbound: Interception;
  readonly inbound: Interception;
  #spec: InterceptSpec;

  /** `spec`: what both halves have in force. */
  constructor(outbound: Interception, inbound: Interception, spec: InterceptSpec) {
    this.#spec = spec;
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
    await this.outbound.update(outboundOf(spec));
    try {
      await this.inbound.update(inboundOf(spec), listeners);
    } catch (error) {
      await this.outbound.update(outboundOf(this.#spec));
      throw error;
    }
    this.#spec = spec;
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
