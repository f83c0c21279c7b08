// SPDX-License-Identifier: Apache-2.0
import type { ProxyIdentity } from "../spec.ts";
import type { CgroupMatch } from "./cgroup-match.ts";
import { anyOf, markMatch } from "./rule.ts";

/**
 * Phrases for the proxy's own traffic, one for each way to recognise it. Only for chains reached from the output hook,
 * where a packet still has its socket.
 */
export function ownTraffic(proxy: ProxyIdentity, cgroup: (directory: string) => CgroupMatch): string[] {
  const phrases: string[] = [];
  if (proxy.mark) phrases.push(markMatch(proxy.mark));
  if (proxy.uids.length > 0) phrases.push(`meta skuid ${anyOf(proxy.uids)}`);
  if (proxy.gids.length > 0) phrases.push(`meta skgid ${anyOf(proxy.gids)}`);
  // Whoever names the root as the proxy's cgroup has nothing but proxies.
  if (proxy.cgroup !== undefined) phrases.push(cgroup(proxy.cgroup).phrase ?? "meta l4proto { tcp, udp }");
  return phrases;
}
