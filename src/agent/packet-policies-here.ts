// SPDX-License-Identifier: Apache-2.0
import { CgroupPolicies } from "../accelerate/policies/cgroup-policies.ts";
import { readPolicies } from "../accelerate/policies/namespace-policies.ts";
import type { Policy } from "../accelerate/policies/policy.ts";
import { NetworkNamespace, OWN_NETNS } from "../intercept/network-namespace.ts";
import { SystemError } from "../native/status.ts";
import { findCgroup2 } from "../util/mountinfo.ts";
import { LegacyTables, OWN_RULES } from "./legacy-tables.ts";

/** What packets of this process meet. Empty as well where nothing can be asked, for want of privileges. */
export async function packetPoliciesHere(): Promise<Policy[]> {
  using netns = new NetworkNamespace(OWN_NETNS);
  using legacy = new LegacyTables();
  const cgroup = new CgroupPolicies(findCgroup2()?.mountPoint);
  try {
    const tables = await legacy.readNow(netns);
    const { inside, across } = readPolicies(undefined, { interfaces: [], netfilter: [] }, OWN_RULES, tables);
    const met = new Map([...inside, ...across].map((policy) => [policy.where, policy]));
    const own: Policy[] = cgroup.concern(process.pid) ? [{ kind: "cgroup-skb", where: "cgroup of this process" }] : [];
    return [...own, ...met.values()];
  } catch (error) {
    if (error instanceof SystemError) return [];
    throw error;
  }
}
