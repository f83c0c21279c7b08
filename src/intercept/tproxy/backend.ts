// SPDX-License-Identifier: Apache-2.0
/**
 * Interception by TPROXY inbound and REDIRECT outbound: as the iptables back-end, but inbound connections keep their
 * destination, need no connection tracking, and find the proxy on loopback. The proxy's inbound listener must have
 * IP_TRANSPARENT (IPV6_TRANSPARENT).
 */
import { currentFacts, iptablesBackend, type RulesBackend } from "../iptables/backend.ts";
import { readNamespace } from "../iptables/namespace-rules.ts";
import { installedTools } from "../iptables/tools.ts";
import { workloadsNeedingRouting } from "../iptables/tproxy-use.ts";
import { adopt, apply } from "./apply.ts";
import { plan } from "./plan.ts";
import { probe } from "./probe.ts";
import { render } from "./render.ts";
import { verify } from "./verify.ts";

export const tproxyBackend: RulesBackend<"tproxy"> = {
  ...iptablesBackend,
  name: "tproxy",
  probe,
  plan: (spec, facts = currentFacts()) => plan(spec, facts),
  render,
  apply: async (spec, options) => apply(plan(spec, currentFacts()), options),
  adopt: async (spec, options) => adopt(plan(spec, currentFacts()), options),
  verify: async (spec, signal) => verify(plan(spec, currentFacts()), signal),
  findOurs: async (netnsPath, signal) =>
    workloadsNeedingRouting(await readNamespace(netnsPath, await installedTools(signal), signal)),
};
