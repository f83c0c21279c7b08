// SPDX-License-Identifier: Apache-2.0
import type { AccelerationSource } from "../../accelerate/acceleration-source.ts";
import type { SpliceSource } from "../../accelerate/splice-source.ts";
import type { WorkloadConfig } from "../../config/model.ts";
import type { Direction } from "../../intercept/backend.ts";
import type { OriginalDestinationSource } from "../../intercept/original-destination.ts";
import type { OwnFlowsSource } from "../../intercept/own-flows.ts";
import { PRESERVE_MARK, PROXY_MARK } from "../identity.ts";
import type { ListenerRoute } from "./listener-group.ts";
import type { ProxyTimeouts } from "./workload-context.ts";

/** A map knows what is its own; conntrack answers for every connection it tracks, and an address always does. */
const ORDER: readonly OriginalDestinationSource["kind"][] = ["ebpf-map", "conntrack", "local-address"];

/** What the proxy must know of the ways in which connections come to it. */
export interface ConnectionsSource {
  /** Where one may be remembered; the way that new ones come comes first. */
  originals(direction: Direction): readonly OriginalDestinationSource[];
  /** Where those with a client's address are noted; undefined where nothing needs to know. */
  ownFlows(): OwnFlowsSource | undefined;
}

export interface RouteFacts {
  readonly ownPorts: readonly number[];
  readonly timeouts: ProxyTimeouts;
  readonly source: ConnectionsSource;
  readonly acceleration: AccelerationSource | undefined;
  readonly splice: SpliceSource | undefined;
}

/** What the proxy does with connections of a direction. */
export function routeFor(direction: Direction, config: WorkloadConfig, facts: RouteFacts): ListenerRoute {
  const { source, ownPorts, timeouts, acceleration, splice } = facts;
  const preserve = direction === "inbound" && config.inbound.preserveSource;
  const ownFlows = preserve ? source.ownFlows() : undefined;
  return {
    workload: config.name,
    // What interception knows the proxy by has to be on its sockets.
    mark: preserve ? PRESERVE_MARK : (config.proxy.mark?.value ?? PROXY_MARK),
    source: direction === "outbound" ? { kind: "local" } : { kind: preserve ? "preserve" : "passthrough" },
    ownPorts,
    originals: inOrder(source.originals(direction)),
    ...(ownFlows === undefined ? {} : { ownFlows }),
    // Always there, as what a listener had before stays where nothing is said.
    acceleration,
    splice,
    ...timeouts,
  };
}

/** One of each kind, for two of a kind give the same answers; conntrack says nothing of what the next one knows. */
function inOrder(originals: readonly OriginalDestinationSource[]): OriginalDestinationSource[] {
  const one = originals.filter(({ kind }, index) => originals.findIndex((other) => other.kind === kind) === index);
  const sorted = one.toSorted((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  const last = sorted.at(-1);
  return sorted.map((source) =>
    source.kind === "conntrack" && source !== last ? { ...source, changedOnly: true } : source,
  );
}
