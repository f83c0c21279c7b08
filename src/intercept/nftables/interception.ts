// SPDX-License-Identifier: Apache-2.0
import type { Drift, InterceptionPart, VerdictCounters } from "../backend.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { RuleFor } from "../rule-for.ts";
import type { InterceptSpec } from "../spec.ts";
import { readVerdicts } from "./apply.ts";
import { nftablesBackend } from "./backend.ts";
import { nftablesRuleFor } from "./rule-for.ts";

const NO_VERDICTS: VerdictCounters = { outbound: {}, inbound: {} };

/** Redirect rules of nftables in force for one workload. */
export class NftablesInterception implements InterceptionPart {
  readonly backend = "nftables";
  readonly dependence = { outbound: "translation", inbound: "translation" } as const;
  readonly #netns: NetworkNamespace;
  #spec: InterceptSpec;
  #warnings: readonly string[];
  #verdicts = NO_VERDICTS;

  private constructor(netns: NetworkNamespace, spec: InterceptSpec, warnings: readonly string[]) {
    this.#netns = netns;
    this.#spec = spec;
    this.#warnings = warnings;
  }

  /** `netns` is the namespace of the target, which must stay open as long as the rules are to be changed. */
  static async apply(spec: InterceptSpec, netns: NetworkNamespace): Promise<NftablesInterception> {
    const { warnings } = await nftablesBackend.apply(within(netns, spec));
    return new NftablesInterception(netns, spec, warnings);
  }

  get spec(): InterceptSpec {
    return this.#spec;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  originalDestination(): OriginalDestinationSource {
    return { kind: "conntrack", interception: "nftables" };
  }

  ownFlows(): undefined {
    return undefined;
  }

  setInboundListener(): void {
    // A redirect finds the listener by its port.
  }

  setLocalAddresses(): void {
    // The rules ask the kernel (oifname "lo") each time.
  }

  async update(spec: InterceptSpec): Promise<void> {
    const before = this.#spec.name;
    const { name, warnings } = await nftablesBackend.apply(within(this.#netns, spec));
    this.#spec = spec;
    this.#warnings = warnings;
    // Under another name they are added to those that were there, which go when the new ones are in force.
    if (before !== name) await nftablesBackend.remove(this.#netns.currentPath, before);
  }

  async refreshCounters(): Promise<void> {
    this.#verdicts = await readVerdicts(this.#netns.currentPath, this.#spec.name);
  }

  /** As of the last `refreshCounters`. */
  counters(): VerdictCounters {
    return this.#verdicts;
  }

  readonly ruleFor: RuleFor = (spec, question, decision) =>
    nftablesRuleFor(nftablesBackend.plan(within(this.#netns, spec)), question, decision);

  verify(): Promise<readonly Drift[]> {
    return nftablesBackend.verify(within(this.#netns, this.#spec));
  }

  async repair(): Promise<void> {
    await nftablesBackend.apply(within(this.#netns, this.#spec));
  }

  async remove(): Promise<void> {
    await nftablesBackend.remove(this.#netns.currentPath, this.#spec.name);
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
