// SPDX-License-Identifier: Apache-2.0
import type { ChainPlan, TablePlan } from "../iptables/chain-plan.ts";
import { inboundPolicy, leftAlone, type PlanInbound, toSelfMatch } from "../iptables/inbound-rules.ts";
import { workloadChain } from "../iptables/naming.ts";
import { leavingBy, markMatch, markWord } from "../iptables/own-traffic.ts";
import { TPROXY_ROUTE } from "../iptables/policy-routing.ts";
import { type Family, goTo, passthroughSource, RETURN, returns, rule } from "../iptables/rule.ts";
import type { InterceptSpec } from "../spec.ts";

const ARRIVED = { value: TPROXY_ROUTE.mark, mask: TPROXY_ROUTE.mask };
/** What an external proxy says to its own workload, so that it is told from everything else that comes by lo. */
const REENTERING = { value: TPROXY_ROUTE.mark + 1, mask: TPROXY_ROUTE.mask };

/**
 * mangle: connections from outside are handed to the proxy's listener with their destination unchanged, whatever
 * connection tracking knows of them.
 */
export const tproxyInbound: PlanInbound = (spec, family, own) => {
  if (!spec.inbound) return { tables: [], toSelf: [], arrived: [] };
  const reentering = spec.proxy.external ? own : [];
  const chain = workloadChain(spec.name, "IN");
  const arriving: TablePlan = {
    table: "mangle",
    chains: arrivingChains(spec, family, chain, spec.inbound.port),
    dispatch: [{ hook: "PREROUTING", rules: [rule(["-p", "tcp"], goTo(chain))] }],
  };
  return {
    tables: [arriving, ...(reentering.length > 0 ? [reenterTable(spec, family, reentering)] : [])],
    // They have their mark before nat sees them.
    toSelf: returns(reentering.length > 0 ? [markMatch(REENTERING)] : []),
    arrived: [markMatch(ARRIVED)],
  };
};

function arrivingChains(spec: InterceptSpec, family: Family, chain: string, port: number): ChainPlan[] {
  const divert = workloadChain(spec.name, "DIVERT");
  const toProxy = workloadChain(spec.name, "IN_TPROXY");
  const mark = markWord(ARRIVED);
  // By loopback address: a listener there is enough, and nobody outside reaches it otherwise.
  const listener = ["--on-port", String(port), "--on-ip", family === 4 ? "127.0.0.1" : "::1"];
  const later = ["-p", "tcp", "!", "--syn"];
  const reenters = spec.proxy.external ? ["-m", "mark", "!", "--mark", markWord(REENTERING)] : [];
  return [
    { name: divert, rules: [rule([], ["-j", "MARK", "--set-xmark", mark])] },
    { name: toProxy, rules: [rule(["-p", "tcp"], ["-j", "TPROXY", ...listener, "--tproxy-mark", mark])] },
    {
      name: chain,
      rules: [
        ...leftAlone(spec),
        rule(["-i", "lo", ...reenters], RETURN),
        // The proxy's own connections, whatever the policy has become since. Not a SYN: one that reopens a connection in
        // TIME_WAIT would come to whoever listens on the port it names; TPROXY gives it to the proxy again.
        rule([...later, "-m", "socket", "--transparent"], goTo(divert)),
        // Connections from before the rules, and answers to those the workload makes: TPROXY drops what belongs to a
        // socket that is not transparent (tproxy_tg4 in net/netfilter/xt_TPROXY.c).
        rule([...later, "-m", "socket"], RETURN),
        // The middle of connections that were redirected, or are only passed on, translated or not. What is left and no
        // SYN may end a handshake by SYN cookie, of which no socket knows yet.
        rule([...later, "-m", "addrtype", "!", "--dst-type", "LOCAL"], RETURN),
        rule([...later, "-m", "conntrack", "--ctstate", "DNAT"], RETURN),
        rule([...later, "-m", "conntrack", "--ctdir", "REPLY"], RETURN),
        ...inboundPolicy(spec, family, goTo(toProxy)),
      ],
    },
  ];
}

/** Before nat, which needs to know; only what the proxy begins, not its answers to the workload. */
function reenterTable(spec: InterceptSpec, family: Family, own: readonly (readonly string[])[]): TablePlan {
  const name = workloadChain(spec.name, "REENTER");
  const begun = [...toSelfMatch(family), "-m", "conntrack", "--ctdir", "ORIGINAL"];
  const rules = [
    ...returns(leavingBy(spec.interfaces)),
    rule(["-s", passthroughSource(family)], RETURN),
    ...own.map((who) => rule([...begun, ...who], ["-j", "MARK", "--set-xmark", markWord(REENTERING)])),
  ];
  return {
    table: "mangle",
    chains: [{ name, rules }],
    dispatch: [{ hook: "OUTPUT", rules: [rule(["-o", "lo", "-p", "tcp"], goTo(name))] }],
  };
}
