// SPDX-License-Identifier: Apache-2.0
import type { BackendName, Direction, InboundListener, InterceptionPart } from "../intercept/backend.ts";
import type { EbpfBackend } from "../intercept/ebpf/backend.ts";
import { IptablesInterception } from "../intercept/iptables/interception.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { NftablesInterception } from "../intercept/nftables/interception.ts";
import type { OriginalDestinationSource } from "../intercept/original-destination.ts";
import type { Appliers, Apply, Mode } from "../intercept/select.ts";
import type { InterceptSpec, InterfacePolicy } from "../intercept/spec.ts";
import { TproxyInterception } from "../intercept/tproxy/interception.ts";
import type { Reaches } from "./workload/proxy-listeners.ts";

type Rules = InterceptionPart & { readonly warnings: readonly string[] };

/** What a workload has for an interception to lead to. */
export interface Destinations {
  readonly netns: NetworkNamespace;
  readonly ebpf: EbpfBackend;
  /** Inbound sockets that are there. */
  sockets(): readonly InboundListener[];
  /** Has the listeners be where connections are about to be led. */
  listen(reaches: Partial<Reaches>): Promise<void>;
  warn(message: string): void;
  /** Applies, or changes what is there already; applies when absent. */
  bring?(backend: BackendName, spec: InterceptSpec, apply: Apply): Promise<InterceptionPart>;
}

/** The back-ends by name, each as a way to bring a spec into force for one workload. */
export function appliersFor(to: Destinations): Appliers {
  const listen = (mode: BackendName, { outbound, inbound, interfaces }: InterceptSpec): Promise<void> => {
    const reaches = reachesIn(mode, interfaces);
    return to.listen({ ...(outbound && { outbound: reaches.outbound }), ...(inbound && { inbound: reaches.inbound }) });
  };
  const bringing =
    (mode: BackendName, apply: Apply): Apply =>
    async (spec) => {
      await listen(mode, spec);
      return to.bring ? to.bring(mode, spec, apply) : apply(spec);
    };
  const byRules = (mode: BackendName, apply: (spec: InterceptSpec, netns: NetworkNamespace) => Promise<Rules>): Apply =>
    bringing(mode, async (spec) => {
      const rules = await apply(spec, to.netns);
      for (const warning of rules.warnings) to.warn(warning);
      return rules;
    });
  return {
    ebpf: bringing("ebpf", (spec) => to.ebpf.apply(spec, to.netns, to.sockets())),
    iptables: byRules("iptables", (spec, netns) => IptablesInterception.apply(spec, netns)),
    tproxy: byRules("tproxy", (spec, netns) => TproxyInterception.apply(spec, netns)),
    nftables: byRules("nftables", (spec, netns) => NftablesInterception.apply(spec, netns)),
  };
}

/** Where a back-end that is not in force yet is going to remember connections. */
export function originalsBy(
  backend: BackendName,
  direction: Direction,
  programs: () => OriginalDestinationSource | undefined,
): readonly OriginalDestinationSource[] {
  if (backend === "nftables") return [{ kind: "conntrack", interception: "nftables" }];
  if (backend === "iptables" || (backend === "tproxy" && direction === "outbound")) return [{ kind: "conntrack" }];
  if (backend === "tproxy") return [{ kind: "local-address", interception: "tproxy" }];
  if (direction === "inbound") return [{ kind: "local-address" }];
  const source = programs();
  return source === undefined ? [] : [source];
}

/**
 * REDIRECT leads connections from outside to whatever address they came to, TPROXY and sk_lookup to listeners on
 * loopback. What comes by rerouted interfaces is outbound, and from outside.
 */
export function reachesIn(mode: Mode, { reroute }: InterfacePolicy): Reaches {
  if (mode === "ebpf") return { outbound: "loopback", inbound: "loopback" };
  if (mode === "mixed") return { outbound: "loopback", inbound: "any" };
  return { outbound: reroute.length > 0 ? "any" : "loopback", inbound: mode === "tproxy" ? "transparent" : "any" };
}
