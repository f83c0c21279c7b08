// SPDX-License-Identifier: Apache-2.0
import type { Direction, Drift, InterceptionPart } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { RuleFor } from "../rule-for.ts";
import type { InterceptSpec } from "../spec.ts";
import type { AppliedRules } from "./apply.ts";
import type { RulesBackend } from "./backend.ts";
import { iptablesRuleFor } from "./rule-for.ts";

/** What REDIRECT and TPROXY rules have in common while they are in force for one workload. */
export abstract class RulesInterception<Name extends "iptables" | "tproxy"> implements InterceptionPart {
  abstract readonly backend: Name;
  readonly dependence = { outbound: "translation", inbound: "translation" } as const;
  readonly #netns: NetworkNamespace;
  readonly #rules: RulesBackend<Name>;
  #applied: AppliedRules;
  #spec: InterceptSpec;

  protected constructor(
    netns: NetworkNamespace,
    rules: RulesBackend<Name>,
    applied: AppliedRules,
    spec: InterceptSpec,
  ) {
    this.#spec = spec;
    this.#netns = netns;
    this.#rules = rules;
    this.#applied = applied;
  }

  abstract originalDestination(direction: Direction): OriginalDestinationSource;

  get spec(): InterceptSpec {
    return this.#spec;
  }

  get warnings(): readonly string[] {
    return this.#applied.warnings;
  }

  ownFlows(): undefined {
    return undefined;
  }

  setInboundListener(): void {
    // Rules find the listener by its port.
  }

  setLocalAddresses(): void {
    // The rules ask the kernel (-o lo, -m addrtype) each time.
  }

  async update(spec: InterceptSpec): Promise<void> {
    const before = this.#applied;
    this.#applied = await this.#rules.apply(within(this.#netns, spec));
    this.#spec = spec;
    // Under another name they are added to those that were there, which go when the new ones are in force.
    if (before.name !== this.#applied.name) await before.remove();
  }

  counters(): undefined {
    return undefined;
  }

  readonly ruleFor: RuleFor = (spec, question, decision) =>
    iptablesRuleFor(this.#rules.plan(within(this.#netns, spec)), spec, question, decision);

  verify(): Promise<readonly Drift[]> {
    return this.#rules.verify(within(this.#netns, this.#spec));
  }

  async repair(): Promise<void> {
    this.#applied = await this.#rules.apply(within(this.#netns, this.#spec));
  }

  async remove(): Promise<void> {
    await this.#rules.remove(this.#netns.currentPath, this.#applied.name);
  }

  [Symbol.dispose](): void {
    // Rules need no handle.
  }
}

/** The name a namespace was known by can be gone, or be another's, while the namespace is still in use. */
export function within(netns: NetworkNamespace, spec: InterceptSpec): InterceptSpec {
  const { target } = spec;
  const path = netns.currentPath;
  return { ...spec, target: target.kind === "netns" ? { ...target, path } : { ...target, netnsPath: path } };
}
