// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { WorkloadConfig } from "../../config/model.ts";
import type { Direction, Interception } from "../../intercept/backend.ts";
import type { OriginalDestinationSource } from "../../intercept/original-destination.ts";
import { PRESERVE_MARK, PROXY_MARK } from "../identity.ts";
import type { ListenerRoute } from "./listener-group.ts";
import type { ProxyTimeouts } from "./workload-context.ts";

/** A map knows what is its own; conntrack answers for every connection it tracks, and an address always does. */
const ORDER: readonly OriginalDestinationSource["kind"][] = ["ebpf-map", "conntrack", "local-address"];

export interface RouteFacts {
  readonly ownPorts: readonly number[];
  readonly timeouts: ProxyTimeouts;
  /** What leads connections here. */
  readonly interception: Interception;
  /** What else may lead them here for a while. */
  readonly alsoFrom?: readonly OriginalDestinationSource[];
}

/** What the proxy does with connections of a direction. */
export function routeFor(direction: Direction, config: WorkloadConfig, facts: RouteFacts): ListenerRoute {
  const { interception, ownPorts, timeouts, alsoFrom = [] } = facts;
  const preserve = direction === "inbound" && config.inbound.preserveSource;
  const ownFlows = preserve ? interception.ownFlows() : undefined;
  const source = interception.originalDestination(direction);
  const originals = [source, ...alsoFrom.filter((other) => !isDeepStrictEqual(other, source))];
  return {
    workload: config.name,
    // What interception knows the proxy by has to be on its sockets.
    mark: preserve ? PRESERVE_MARK : (config.proxy.mark?.value ?? PROXY_MARK),
    source: direction === "outbound" ? { kind: "local" } : { kind: preserve ? "preserve" : "passthrough" },
    ownPorts,
    originals: originals.toSorted((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)),
    ...(ownFlows === undefined ? {} : { ownFlows }),
    ...timeouts,
  };
}
