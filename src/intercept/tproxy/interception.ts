// SPDX-License-Identifier: Apache-2.0
import type { Direction } from "../backend.ts";
import { RulesInterception, within } from "../iptables/rules-interception.ts";
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { InterceptSpec } from "../spec.ts";
import { tproxyBackend } from "./backend.ts";

/** TPROXY rules inbound, REDIRECT rules outbound, in force for one workload. */
export class TproxyInterception extends RulesInterception<"tproxy"> {
  readonly backend = "tproxy";

  /** `netns` is the namespace of the target, which must stay open as long as the rules are to be changed. */
  static override async apply(spec: InterceptSpec, netns: NetworkNamespace): Promise<TproxyInterception> {
    return new TproxyInterception(netns, tproxyBackend, await tproxyBackend.apply(within(netns, spec)), spec);
  }

  originalDestination(direction: Direction): OriginalDestinationSource {
    return direction === "inbound" ? { kind: "local-address", interception: "tproxy" } : { kind: "conntrack" };
  }
}
