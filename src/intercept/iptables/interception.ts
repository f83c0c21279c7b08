// SPDX-License-Identifier: Apache-2.0
import type { NetworkNamespace } from "../network-namespace.ts";
import type { OriginalDestinationSource } from "../original-destination.ts";
import type { InterceptSpec } from "../spec.ts";
import { iptablesBackend } from "./backend.ts";
import { RulesInterception, within } from "./rules-interception.ts";

/** REDIRECT rules in force for one workload. */
export class IptablesInterception extends RulesInterception<"iptables"> {
  readonly backend = "iptables";

  /** `netns` is the namespace of the target, which must stay open as long as the rules are to be changed. */
  static override async apply(spec: InterceptSpec, netns: NetworkNamespace): Promise<IptablesInterception> {
    return new IptablesInterception(netns, iptablesBackend, await iptablesBackend.apply(within(netns, spec)), spec);
  }

  originalDestination(): OriginalDestinationSource {
    return { kind: "conntrack" };
  }
}
