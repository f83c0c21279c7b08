// SPDX-License-Identifier: Apache-2.0
import type { AccelReason } from "../../bpf/generated/types.ts";

/** What a packet may meet on its way and bytes past TCP don't, in the order of reports. */
export const POLICY_KINDS = ["cgroup-skb", "tc", "xdp", "netfilter"] as const;
export type PolicyKind = (typeof POLICY_KINDS)[number];

/** What a connection's record says of the first kind that is met. */
export const POLICY_REASONS = {
  "cgroup-skb": "policy-cgroup-skb",
  tc: "policy-tc",
  xdp: "policy-xdp",
  netfilter: "policy-netfilter",
} as const satisfies Record<PolicyKind, AccelReason>;

/** Somebody's program or rule that decides about packets. */
export interface Policy {
  readonly kind: PolicyKind;
  /** Where it stands, in words: "eth0 ingress", "table inet filter, chain input". */
  readonly where: string;
}
