// SPDX-License-Identifier: Apache-2.0
/** Names of interfaces, users and groups in nft's language. */

/**
 * Words that nft 1.0 and 1.1 take for their own at the place of a name. Istio prints every name bare, so a name is
 * quoted only where that would not load.
 */
const RESERVED: ReadonlySet<string> = new Set(
  `accept add ah all and bridge cgroup chain comment comp constant continue counter cpu create ct day dccp define
  delete destroy device devices drop dst dup dynamic elements element eq esp ether export exthdr fib flags flow
  flowtable flush frag fwd ge geneve goto gre gretap gt handle hbh hook hour ibriport ibrname icmp icmpv6 igmp iif
  iifgroup iifname iiftype in include index inet insert interval ip ip6 ipsec jhash jump last le limit list log lt map
  mark masquerade meta meter mh monitor ne netdev nftrace not notrack numgen obriport obrname oif oifgroup oifname
  oiftype or osf pkttype policy position priority queue quota random redirect redefine reject rename replace reset
  return rt rt0 rt2 rtclassid rule ruleset sctp secmark set sets size skgid skuid snat socket srh symhash synproxy
  table tcp th time timeout tproxy type typeof udp udplite update vlan vmap vxlan xfrm xor xt`.split(/\s+/),
);

export function nftName(name: string): string {
  return /^[A-Za-z][\w.-]*$/.test(name) && !RESERVED.has(name) ? name : `"${name}"`;
}

/** A user or group: a number stays one. */
export function nftOwner(owner: string): string {
  return /^\d+$/.test(owner) ? owner : nftName(owner);
}
