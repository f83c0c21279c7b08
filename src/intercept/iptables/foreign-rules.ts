// SPDX-License-Identifier: Apache-2.0
/** How the rules of other interceptors are told, and ours of whatever version. Facts of their generators; pure. */

export type Interceptor = "shunt" | "istio" | "kuma" | "linkerd" | "osm";

/** Every interceptor names its chains in its own way. */
const CHAINS: readonly (readonly [RegExp, Interceptor])[] = [
  [/^SHUNT_/, "shunt"],
  [/^ISTIO_/, "istio"],
  [/^(KUMA_|MESH_)/, "kuma"],
  [/^PROXY_INIT_/, "linkerd"],
  [/^OSM_PROXY_/, "osm"],
];

const NFT_TABLES: readonly (readonly [RegExp, Interceptor])[] = [
  [/^shunt-/, "shunt"],
  [/^istio-(proxy|ambient)-/, "istio"],
];

/** `ip -N rule` of Istio: the sidecar's TPROXY mark 1337 and table 133, ambient's 0x111 and table 100. */
const IP_RULES: readonly (readonly [RegExp, Interceptor])[] = [
  [/fwmark 0x539 lookup 133$/, "istio"],
  [/fwmark 0x111\/0xfff lookup 100$/, "istio"],
  [/fwmark 0x253a\/0x3fff lookup 9530$/, "shunt"],
];

export const chainOwner = (chain: string): Interceptor | undefined => first(CHAINS, chain);
export const nftTableOwner = (table: string): Interceptor | undefined => first(NFT_TABLES, table);
export const ipRuleOwner = (line: string): Interceptor | undefined => first(IP_RULES, line);

/** Whose a rule in a built-in chain is: whose chain it leads to, or, of Istio's TPROXY mode, which marks it knows. */
export function ruleOwner(table: string, line: string): Interceptor | undefined {
  const target = / -[jg] (\S+)/.exec(line)?.[1] ?? "";
  const istioMark = table === "mangle" && / --(mark 0x539(\s|$)|set-xmark 0x53a\/)/.test(line);
  return chainOwner(target) ?? (istioMark ? "istio" : undefined);
}

function first(table: readonly (readonly [RegExp, Interceptor])[], text: string): Interceptor | undefined {
  return table.find(([pattern]) => pattern.test(text))?.[1];
}
