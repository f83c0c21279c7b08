// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "../spec.ts";
import type { TablePlan } from "./chain-plan.ts";
import { dnsRules } from "./dns-rules.ts";
import { inboundPolicy, leftAlone } from "./inbound-rules.ts";
import { workloadChain } from "./naming.ts";
import { outboundRules, rerouteRules } from "./outbound-rules.ts";
import { BEGINNING, DROP, type Family, goTo, RETURN, type Rule, returns, rule } from "./rule.ts";

/**
 * filter: drops what the policy captures and nothing has led to the proxy. In force while rules of several tables or
 * families change one after another. Only beginnings are dropped, which are sent again a second later; established
 * connections and what the policy lets pass are not touched. `arrived` are matches of what is at the proxy's already.
 */
export function guardTable(
  spec: InterceptSpec,
  family: Family,
  own: readonly (readonly string[])[],
  scope: readonly string[],
  arrived: readonly (readonly string[])[],
): TablePlan {
  const drop = workloadChain(spec.name, "GUARD_DROP");
  const beginnings = [
    rule(["-m", "conntrack", "--ctstate", "DNAT"], RETURN),
    rule(BEGINNING, DROP),
    rule(["-p", "udp"], DROP),
  ];
  const dns = dnsRules(spec, family, () => goTo(drop)) ?? [];
  const entry = (name: string, rules: readonly Rule[], hook: "OUTPUT" | "INPUT" | "FORWARD", match: string[][]) => ({
    chain: { name, rules },
    dispatch: { hook, rules: match.map((words) => rule(words, goTo(name))) },
  });
  const entries = [
    ...(spec.outbound
      ? [
          entry(
            workloadChain(spec.name, "GUARD_OUT"),
            outboundRules(spec, family, own, { captured: goTo(drop), dns, toSelf: [] }),
            "OUTPUT",
            [[...scope]],
          ),
        ]
      : []),
    ...(spec.outbound && spec.interfaces.reroute.length > 0
      ? [
          entry(
            workloadChain(spec.name, "GUARD_FWD"),
            rerouteRules(spec, family, goTo(drop)),
            "FORWARD",
            spec.interfaces.reroute.map((name) => ["-i", name, "-p", "tcp"]),
          ),
        ]
      : []),
    ...(spec.inbound
      ? [
          entry(
            workloadChain(spec.name, "GUARD_IN"),
            [
              ...leftAlone(spec),
              rule(["-i", "lo"], RETURN),
              ...returns(arrived),
              ...inboundPolicy(spec, family, goTo(drop)),
            ],
            "INPUT",
            [["-p", "tcp"]],
          ),
        ]
      : []),
  ];
  return {
    table: "filter",
    chains: [{ name: drop, rules: beginnings }, ...entries.map(({ chain }) => chain)],
    dispatch: entries.map(({ dispatch }) => dispatch),
  };
}
