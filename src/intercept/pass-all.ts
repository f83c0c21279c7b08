// SPDX-License-Identifier: Apache-2.0
import type { InterceptSpec } from "./spec.ts";

/**
 * The same workload with nothing captured any more. Unlike with the directions off, rules keep their REDIRECT, unused:
 * with the last one of a namespace the kernel stops tracking connections (nf_ct_netns_put in net/netfilter/xt_REDIRECT.c
 * and nft_redir.c), and what the proxy sends on those that were redirected, its resets too, leaves untranslated.
 */
export function passAll(spec: InterceptSpec): InterceptSpec {
  const { outbound, inbound } = spec;
  return {
    ...spec,
    ...(outbound && { outbound: { ...outbound, includePorts: [], includeCidrs: [], dns: { kind: "off" } } }),
    ...(inbound && { inbound: { ...inbound, includePorts: [], includeCidrs: [] } }),
  };
}
