// SPDX-License-Identifier: Apache-2.0
/** What Shunt asks of a machine. The one list; docs/probe.md shows it and a test compares the two. */

export interface Feature {
  readonly name: string;
  /** Kernel hook, system call or program that is tried. */
  readonly hook: string;
  /** What Shunt does with it. */
  readonly meaning: string;
}

export const features = [
  { name: "bpf-syscall", hook: "bpf(2)", meaning: "maps can be made: the kernel has BPF and this process may use it" },
  { name: "cgroup2", hook: "cgroup2 mount", meaning: "a cgroup v2 tree is mounted and a cgroup can be made in it" },
  { name: "bpffs", hook: "bpf mount", meaning: "programs and maps can be pinned, so that they outlive the agent" },
  { name: "netns", hook: "unshare(CLONE_NEWNET)", meaning: "sockets can be made in other network namespaces" },
  { name: "bpf-link", hook: "BPF_LINK_CREATE", meaning: "attaching beside others, and replacing a program atomically" },
  { name: "ringbuf", hook: "BPF_MAP_TYPE_RINGBUF", meaning: "events of verdicts reach the agent" },
  { name: "cgroup-connect4", hook: "cgroup/connect4", meaning: "outbound IPv4 connections are sent to the proxy" },
  { name: "cgroup-connect6", hook: "cgroup/connect6", meaning: "outbound IPv6 connections are sent to the proxy" },
  { name: "cgroup-sendmsg", hook: "cgroup/sendmsg4, sendmsg6", meaning: "DNS queries are sent to the proxy" },
  {
    name: "cgroup-recvmsg",
    hook: "cgroup/recvmsg4, recvmsg6",
    meaning: "DNS answers seem to come from the resolver asked",
  },
  {
    name: "cgroup-getpeername",
    hook: "cgroup/getpeername4, getpeername6",
    meaning: "the application sees the peer it connected to",
  },
  {
    name: "cgroup-getsockopt",
    hook: "cgroup/getsockopt",
    meaning: "an unmodified proxy gets the original destination by SO_ORIGINAL_DST",
  },
  { name: "sockops", hook: "sockops", meaning: "the accepted connection is tied to its original destination" },
  { name: "sk-storage", hook: "BPF_MAP_TYPE_SK_STORAGE", meaning: "the original destination is kept on the socket" },
  {
    name: "sk-storage-sockops",
    hook: "bpf_sk_storage_get in sockops",
    meaning: "a connection's source port is tied to the original destination on its socket",
  },
  {
    name: "sk-storage-inherited",
    hook: "BPF_F_CLONE, cgroup/bind4",
    meaning: "an external proxy's end of a connection is known by its listener, where sockops can't ask",
  },
  {
    name: "netns-cookie-connect",
    hook: "bpf_get_netns_cookie in cgroup/connect4",
    meaning: "workloads are known by their network namespace",
  },
  {
    name: "netns-cookie-sockops",
    hook: "bpf_get_netns_cookie in sockops",
    meaning: "the accepting end of a connection is known: an external proxy's, and for acceleration",
  },
  { name: "so-netns-cookie", hook: "SO_NETNS_COOKIE", meaning: "the agent can name a network namespace" },
  {
    name: "netns-cookie-learnt",
    hook: "a connect() from inside, met by cgroup/connect4",
    meaning: "the agent can name a network namespace where SO_NETNS_COOKIE is missing",
  },
  { name: "sk-lookup", hook: "sk_lookup", meaning: "inbound connections are handed to the proxy" },
  { name: "sockhash", hook: "BPF_MAP_TYPE_SOCKHASH", meaning: "sockets of both ends are found for acceleration" },
  { name: "sk-msg", hook: "sk_msg", meaning: "data can be redirected between sockets (acceleration)" },
  { name: "iptables-nft", hook: "iptables-nft", meaning: "REDIRECT rules for IPv4 by the nf_tables flavour" },
  { name: "ip6tables-nft", hook: "ip6tables-nft", meaning: "REDIRECT rules for IPv6 by the nf_tables flavour" },
  { name: "iptables-legacy", hook: "iptables-legacy", meaning: "REDIRECT rules for IPv4 by the legacy flavour" },
  { name: "ip6tables-legacy", hook: "ip6tables-legacy", meaning: "REDIRECT rules for IPv6 by the legacy flavour" },
  { name: "xt-cgroup", hook: "iptables -m cgroup --path", meaning: "rules for the processes of one cgroup (exec)" },
  { name: "tproxy", hook: "TPROXY, IP_TRANSPARENT", meaning: "inbound interception that keeps both addresses" },
  { name: "nftables", hook: "nft", meaning: "redirect rules written in nftables itself" },
  { name: "nft-cgroup", hook: "nft socket cgroupv2", meaning: "nftables rules for the processes of one cgroup (exec)" },
] as const satisfies readonly Feature[];

export type FeatureName = (typeof features)[number]["name"];

/** `reason` is the kernel's or the tool's own: an errno name, a verifier line, a tool's last line. */
export type FeatureResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export type FeatureResults = ReadonlyMap<FeatureName, FeatureResult>;
