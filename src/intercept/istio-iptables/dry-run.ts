// SPDX-License-Identifier: Apache-2.0
import { chainFacts, renderDryRun } from "../istio/render-iptables.ts";
import { renderNft } from "../istio/render-nft.ts";
import { sidecarIptables } from "../istio/sidecar-iptables.ts";
import { sidecarNftables } from "../istio/sidecar-nftables.ts";
import { type IstioRulesRequest, ruleComment } from "./istio-rules-run.ts";

/** What a run in a fresh namespace would hand to iptables or nft, as Istio prints it. Looks at nothing and changes nothing. */
export function renderIstioDryRun(request: IstioRulesRequest, cleanupOnly: boolean): string {
  const { config } = request;
  if (request.nativeNftables) {
    const script = renderNft(sidecarNftables(config, request), ruleComment(request.chainPrefix));
    return cleanupOnly ? nftCleanup(script) : script;
  }
  const program = sidecarIptables(config, request);
  return cleanupOnly ? iptablesCleanup(request) : renderDryRun(program, { ipv6: config.enableIpv6 });
}

function nftCleanup(script: string): string {
  const tables = [...script.matchAll(/^add table inet (\S+)/gm)].map((match) => match[1]);
  return tables.map((table) => `delete table inet ${table}\n`).join("");
}

function iptablesCleanup(request: IstioRulesRequest): string {
  const program = sidecarIptables(request.config, request);
  const families = request.config.enableIpv6 ? ([4, 6] as const) : ([4] as const);
  return families
    .flatMap((family) => {
      const command = family === 4 ? "iptables" : "ip6tables";
      const facts = chainFacts(program, family, ruleComment(request.chainPrefix));
      const own = facts.filter((fact) => !fact.builtIn);
      const inBuiltIn = facts.filter((fact) => fact.builtIn).flatMap((fact) => fact.checks);
      return [
        ...inBuiltIn.map((check) => `${command} ${check.map((word) => (word === "-C" ? "-D" : word)).join(" ")}\n`),
        ...own.map(({ table, chain }) => `${command} -t ${table} -F ${chain}\n`),
        ...own.map(({ table, chain }) => `${command} -t ${table} -X ${chain}\n`),
      ];
    })
    .join("");
}
