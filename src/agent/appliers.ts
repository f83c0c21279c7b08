// SPDX-License-Identifier: Apache-2.0
import type { BackendName, InboundListener, Interception } from "../intercept/backend.ts";
import type { EbpfBackend } from "../intercept/ebpf/backend.ts";
import { IptablesInterception } from "../intercept/iptables/interception.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { NftablesInterception } from "../intercept/nftables/interception.ts";
import type { Appliers, Mode } from "../intercept/select.ts";
import type { InterceptSpec, InterfacePolicy } from "../intercept/spec.ts";
import { TproxyInterception } from "../intercept/tproxy/interception.ts";
import type { Reaches } from "./workload/proxy-listeners.ts";

type Rules = Interception & { readonly warnings: readonly string[] };

/** What a workload has for an interception to lead to. */
export interface Destinations {
  readonly netns: NetworkNamespace;
  readonly ebpf: EbpfBackend;
  /** Inbound sockets that are there. */
  sockets(): readonly InboundListener[];
  /** Has the listeners be where connections are about to be led. */
  listen(reaches: Partial<Reaches>): Promise<void>;
  warn(message: string): void;
}

/** The back-ends by name, each as a way to bring a spec into force for one workload. */
export function appliersFor(to: Destinations): Appliers {
  const listen = (mode: BackendName, { outbound, inbound, interfaces }: InterceptSpec): Promise<void> => {
    const reaches = reachesIn(mode, interfaces);
    return to.listen({ ...(outbound && { outbound: reaches.outbound }), ...(inbound && { inbound: reaches.inbound }) });
  };
  const byRules =
    (mode: BackendName, apply: (spec: InterceptSpec, netns: NetworkNamespace) => Promise<Rules>) =>
    async (spec: InterceptSpec): Promise<Interception> => {
      await listen(mode, spec);
      const rules = await apply(spec, to.netns);
      for (const warning of rules.warnings) to.warn(warning);
      return rules;
    };
  return {
    ebpf: async (spec) => {
      await listen("ebpf", spec);
      return to.ebpf.apply(spec, to.netns, to.sockets());
    },
    iptables: byRules("iptables", (spec, netns) => IptablesInterception.apply(spec, netns)),
    tproxy: byRules("tproxy", (spec, netns) => TproxyInterception.apply(spec, netns)),
    nftables: byRules("nftables", (spec, netns) => NftablesInterception.apply(spec, netns)),
  };
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
