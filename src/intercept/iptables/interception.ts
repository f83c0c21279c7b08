// SPDX-License-Identifier: Apache-2.0

import { findCgroup2 } from "../../util/mountinfo.ts";
import type { Interception } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { RuleFor } from "../rule-for.ts";
import type { InterceptSpec } from "../spec.ts";
import type { AppliedRules } from "./apply.ts";
import { iptablesBackend } from "./backend.ts";
import { plan } from "./plan.ts";
import { iptablesRuleFor } from "./rule-for.ts";

/** REDIRECT rules in force for one workload. */
export class IptablesInterception implements Interception {
  readonly backend = "iptables";
  readonly #netns: NetworkNamespace;
  #rules: AppliedRules;

  private constructor(netns: NetworkNamespace, rules: AppliedRules) {
    this.#netns = netns;
    this.#rules = rules;
  }

  /** `netns` is the namespace of the target, which must stay open as long as the rules are to be changed. */
  static async apply(spec: InterceptSpec, netns: NetworkNamespace): Promise<IptablesInterception> {
    return new IptablesInterception(netns, await iptablesBackend.apply(within(netns, spec)));
  }

  get warnings(): readonly string[] {
    return this.#rules.warnings;
  }

  originalDestination(): OriginalDestinationSource {
    return { kind: "conntrack" };
  }

  ownFlows(): undefined {
    return undefined;
  }

  setInboundListener(): void {
    // REDIRECT finds the listener by its port.
  }

  setLocalAddresses(): void {
    // The rules ask the kernel (-o lo, -m addrtype) each time.
  }

  async update(spec: InterceptSpec): Promise<void> {
    const before = this.#rules;
    this.#rules = await iptablesBackend.apply(within(this.#netns, spec));
    // Under another name they are added to those that were there, which go when the new ones are in force.
    if (before.name !== this.#rules.name) await before.remove();
  }

  counters(): undefined {
    return undefined;
  }

  readonly ruleFor: RuleFor = (spec, question, decision) => {
    const cgroup2 = findCgroup2();
    return iptablesRuleFor(plan(within(this.#netns, spec), cgroup2 ? { cgroup2 } : {}), question, decision);
  };

  async remove(): Promise<void> {
    await iptablesBackend.remove(this.#netns.currentPath, this.#rules.name);
  }

  [Symbol.dispose](): void {
    // Rules need no handle.
  }
}

/** The name a namespace was known by can be gone, or be another's, while the namespace is still in use. */
function within(netns: NetworkNamespace, spec: InterceptSpec): InterceptSpec {
  const { target } = spec;
  const path = netns.currentPath;
  return { ...spec, target: target.kind === "netns" ? { ...target, path } : { ...target, netnsPath: path } };
}
