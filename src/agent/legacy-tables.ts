// SPDX-License-Identifier: Apache-2.0
import { hasLegacyTables, legacyPolicies, type OwnRules } from "../accelerate/policies/netfilter-policies.ts";
import type { Policy } from "../accelerate/policies/policy.ts";
import { CHAIN_PREFIX } from "../intercept/iptables/naming.ts";
import { execIn } from "../intercept/iptables/tools.ts";
import type { NetworkNamespace } from "../intercept/network-namespace.ts";
import { TABLE } from "../intercept/nftables/naming.ts";
import { readProcNet } from "../intercept/read-proc-net.ts";

export const OWN_RULES: OwnRules = { table: TABLE, chainPrefix: CHAIN_PREFIX };

/** A program has to be run for each look. */
const LOOK_MS = 10_000;

const UNKNOWN: Policy = { kind: "netfilter", where: "tables of ip_tables, which nobody has looked at yet" };

/** What the tables before nf_tables hold: iptables-legacy-save is run, seldom, where they are there at all. */
export class LegacyTables implements Disposable {
  readonly #abort = new AbortController();
  readonly #seen = new WeakMap<NetworkNamespace, { readonly at: number; policies: readonly Policy[] }>();

  /** As last seen; a rule that may be there counts as one. */
  policiesIn(netns: NetworkNamespace): readonly Policy[] {
    const names = ["ip_tables_names", "ip6_tables_names"].map((name) => readProcNet(netns, name)).join("\n");
    if (!hasLegacyTables(names)) return [];
    const seen = this.#seen.get(netns);
    if (seen && performance.now() - seen.at < LOOK_MS) return seen.policies;
    const looking = { at: performance.now(), policies: seen?.policies ?? [UNKNOWN] };
    this.#seen.set(netns, looking);
    void this.#look(netns.currentPath).then((policies) => (looking.policies = policies));
    return looking.policies;
  }

  /** Looks now. */
  async readNow(netns: NetworkNamespace): Promise<readonly Policy[]> {
    return this.policiesIn(netns).length === 0 ? [] : this.#look(netns.currentPath);
  }

  [Symbol.dispose](): void {
    this.#abort.abort();
  }

  async #look(netnsPath: string): Promise<readonly Policy[]> {
    const save = async (program: string, family: "ip" | "ip6"): Promise<Policy[]> => {
      const { stdout } = await execIn({ netnsPath }, program, [], { signal: this.#abort.signal });
      return legacyPolicies(stdout, family, OWN_RULES);
    };
    try {
      return [...(await save("iptables-legacy-save", "ip")), ...(await save("ip6tables-legacy-save", "ip6"))];
    } catch {
      return [{ kind: "netfilter", where: "tables of ip_tables, which iptables-legacy-save could not read" }];
    }
  }
}
