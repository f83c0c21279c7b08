// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { WorkloadConfig } from "../../config/model.ts";
import { mechanismsOf } from "../../intercept/mechanisms.ts";
import type { NetworkNamespace } from "../../intercept/network-namespace.ts";
import type { Selected } from "../../intercept/select.ts";
import type { Logger } from "../../util/log.ts";
import { type ExternalEndpoint, ExternalListeners } from "../external-listeners.ts";

/** The listeners of a workload's external proxy, while it has one. */
export class ExternalProxy implements Disposable {
  readonly #netns: NetworkNamespace;
  readonly #log: Logger;
  #listeners: ExternalListeners | undefined;
  #followed: unknown;

  constructor(netns: NetworkNamespace, log: Logger) {
    this.#netns = netns;
    this.#log = log;
  }

  get endpoints(): readonly ExternalEndpoint[] {
    return this.#listeners?.endpoints ?? [];
  }

  /** What the proxy fails to do; undefined when it listens, and when there is none. */
  get problem(): string | undefined {
    return this.#listeners?.problem;
  }

  /** Looks for the listeners that `config` names. Rules find them by their port, sk_lookup needs to be given them. */
  follow({ outbound, inbound, proxy }: WorkloadConfig, { interception }: Selected): void {
    const ports = {
      ...(outbound.enabled ? { outboundPort: outbound.port } : {}),
      ...(inbound.enabled ? { inboundPort: inbound.port } : {}),
    };
    const handedOver = inbound.enabled && mechanismsOf(interception).inbound === "ebpf";
    const wanted = proxy.external ? { ports, handedOver } : undefined;
    if (isDeepStrictEqual(wanted, this.#followed)) return;
    this[Symbol.dispose]();
    this.#followed = wanted;
    if (!wanted) return;
    this.#listeners = new ExternalListeners(this.#netns, ports, this.#log);
    if (handedOver) this.#listeners.watch(interception);
  }

  [Symbol.dispose](): void {
    this.#listeners?.[Symbol.dispose]();
    this.#listeners = undefined;
    this.#followed = undefined;
  }
}
