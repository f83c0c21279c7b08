// SPDX-License-Identifier: Apache-2.0
import type { WorkloadConfig } from "../../config/model.ts";
import type { Drift } from "../../intercept/backend.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { EveryStep } from "../../util/every-step.ts";
import type { HostChange } from "../host-change.ts";
import { addPassthroughAddress, hasPassthroughAddress, passthroughDrift } from "../passthrough-address.ts";
import {
  addPreserveSourceRouting,
  preserveSourceDrift,
  readAcceptMarks,
  repairPreserveSource,
} from "../preserve-source.ts";
import type { WorkloadTrace } from "../scope-lock.ts";

/** What of the additions must be undone after us. */
export type AdditionsTrace = Pick<WorkloadTrace, "passthroughAddress" | "fwmarkAccept">;

/** What the proxy needs in the namespace to speak to the application: an address on lo, and routing for preserveSource. */
export class HostAdditions {
  readonly #netns: NetworkNamespace;
  readonly #inherited: WorkloadTrace | undefined;
  #address: HostChange[] | undefined;
  #routing: HostChange[] | undefined;
  #trace: AdditionsTrace = { passthroughAddress: false };

  /** `inherited`: what an agent that was killed left there, which is ours to remove. */
  constructor(netns: NetworkNamespace, inherited: WorkloadTrace | undefined) {
    this.#netns = netns;
    this.#inherited = inherited;
  }

  get changes(): readonly HostChange[] {
    return [...(this.#address ?? []), ...(this.#routing ?? [])];
  }

  /** What is there, or is about to be. */
  get trace(): AdditionsTrace {
    return this.#trace;
  }

  /** Decides what `add` is going to do, so that it can be noted before it is done. */
  async plan(config: WorkloadConfig): Promise<void> {
    const { passthroughAddress, fwmarkAccept } = this.#trace;
    const address = passthroughAddress || (config.inbound.enabled && this.#wantsAddress());
    const before =
      fwmarkAccept ??
      (wantsRouting(config)
        ? (this.#inherited?.fwmarkAccept ?? (await readAcceptMarks(this.#netns.currentPath)))
        : undefined);
    this.#trace = { passthroughAddress: address, ...(before === undefined ? {} : { fwmarkAccept: before }) };
  }

  async add(): Promise<void> {
    const { passthroughAddress, fwmarkAccept } = this.#trace;
    if (passthroughAddress) this.#address ??= addPassthroughAddress(this.#netns);
    if (fwmarkAccept !== undefined) this.#routing ??= await addPreserveSourceRouting(this.#netns, fwmarkAccept);
  }

  /** How what is there differs from what was added. */
  async verify(): Promise<readonly Drift[]> {
    const address = this.#address === undefined ? [] : passthroughDrift(this.#netns);
    return this.#routing === undefined ? address : [...address, ...(await preserveSourceDrift(this.#netns))];
  }

  async repair(): Promise<void> {
    if (this.#address !== undefined) addPassthroughAddress(this.#netns);
    if (this.#routing !== undefined) await repairPreserveSource(this.#netns);
  }

  /** Whether more is there than `config` needs. */
  exceeds(config: WorkloadConfig): boolean {
    return (
      (this.#address !== undefined && !config.inbound.enabled) || (this.#routing !== undefined && !wantsRouting(config))
    );
  }

  /** Takes away what `config` does not need; connections that came by it must have ended. */
  async reduce(config: WorkloadConfig, steps: EveryStep): Promise<void> {
    if (!wantsRouting(config)) await this.#removeRouting(steps);
    if (!config.inbound.enabled) await this.#removeAddress(steps);
  }

  async remove(steps: EveryStep): Promise<void> {
    await this.#removeRouting(steps);
    await this.#removeAddress(steps);
  }

  async #removeRouting(steps: EveryStep): Promise<void> {
    for (const change of this.#routing?.toReversed() ?? []) await steps.run(() => change.remove());
    this.#routing = undefined;
    this.#trace = { passthroughAddress: this.#trace.passthroughAddress };
  }

  async #removeAddress(steps: EveryStep): Promise<void> {
    for (const change of this.#address ?? []) await steps.run(() => change.remove());
    this.#address = undefined;
    this.#trace = { ...this.#trace, passthroughAddress: false };
  }

  /** One that is there already, and not left by an agent before us, is not ours to remove. */
  #wantsAddress(): boolean {
    const { passthroughAddress = false } = this.#inherited ?? {};
    return this.#netns.hasIpv6() && (passthroughAddress || !hasPassthroughAddress(this.#netns));
  }
}

/** The address is for an unmodified sidecar as well, as istio-iptables adds it; the routing is of no use to one. */
function wantsRouting({ inbound, proxy }: WorkloadConfig): boolean {
  return inbound.enabled && inbound.preserveSource && !proxy.external;
}
