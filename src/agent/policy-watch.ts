// SPDX-License-Identifier: Apache-2.0
import type { AccelerationPrograms, PolicyHindrances } from "../accelerate/acceleration-programs.ts";
import { CgroupPolicies } from "../accelerate/policies/cgroup-policies.ts";
import {
  type NamespacePolicies,
  type NodePolicies,
  readNode,
  readPolicies,
} from "../accelerate/policies/namespace-policies.ts";
import { POLICY_KINDS, POLICY_REASONS, type Policy, type PolicyKind } from "../accelerate/policies/policy.ts";
import type { AccelEnd, AccelReason } from "../bpf/generated/types.ts";
import { NetworkNamespace, OWN_NETNS } from "../intercept/network-namespace.ts";
import type { Logger } from "../util/log.ts";
import { LegacyTables, OWN_RULES } from "./legacy-tables.ts";

/** How long a new policy may be bypassed by connections that are `direct`. */
const INTERVAL_MS = 2_000;
/** Looking takes no more than this part of the time. */
const LARGEST_PART = 0.05;

/** Whoever must not let bytes go past policies. */
export type PolicyObserver = Pick<AccelerationPrograms, "restrict" | "withdrawDirect">;

interface Watched {
  readonly netns: NetworkNamespace;
  readonly bypassed: readonly PolicyKind[];
  found: NamespacePolicies;
  hindrances: PolicyHindrances;
}

/**
 * What stands on the path of packets in the namespaces of workloads. Where something does, connections don't go past
 * it from application to application, and those that do are taken back.
 */
export class PolicyWatch implements Disposable {
  readonly #programs: PolicyObserver;
  readonly #log: Logger;
  readonly #node = new NetworkNamespace(OWN_NETNS);
  readonly #legacy = new LegacyTables();
  readonly #cgroups: CgroupPolicies;
  readonly #watched = new Map<bigint, Watched>();
  #timer: NodeJS.Timeout;
  /** In the last round. */
  #spentMs = 0;

  /** `cgroupRoot`: where the cgroup2 file system is mounted. */
  constructor(programs: PolicyObserver, cgroupRoot: string | undefined, log: Logger) {
    this.#programs = programs;
    this.#log = log;
    this.#cgroups = new CgroupPolicies(cgroupRoot);
    this.#timer = setTimeout(() => this.#round(), INTERVAL_MS).unref();
  }

  /** Looks at once, before anything may go past. `bypassed`: kinds that the operator does not mind. */
  watch(netns: NetworkNamespace, bypassed: readonly PolicyKind[]): void {
    const known = this.#watched.get(netns.cookie());
    if (known && known.bypassed.join() === bypassed.join()) return;
    const found = this.#read(netns, this.#readNode());
    const watched = { netns, bypassed, found, hindrances: hindrancesOf(found, bypassed) };
    this.#watched.set(netns.cookie(), watched);
    this.#restrict(watched);
  }

  forget(netns: NetworkNamespace): void {
    this.#watched.delete(netns.cookie());
  }

  /** What keeps connections of a namespace from going direct. */
  policiesOf(netns: NetworkNamespace): readonly Policy[] {
    const { found, bypassed } = this.#watched.get(netns.cookie()) ?? NOT_WATCHED;
    const met = new Map([...found.inside, ...found.across].map((policy) => [policy.where, policy]));
    return [...met.values()].filter(({ kind }) => !bypassed.includes(kind));
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#legacy[Symbol.dispose]();
    this.#node[Symbol.dispose]();
  }

  #round(): void {
    const begun = performance.now();
    try {
      this.#look();
    } catch (err) {
      this.#log.error({ err }, "packet policies could not be looked at");
    }
    const spentMs = performance.now() - begun;
    // Once may have been for want of a CPU.
    const needsMs = Math.min(spentMs, this.#spentMs);
    this.#spentMs = spentMs;
    this.#timer = setTimeout(() => this.#round(), Math.max(INTERVAL_MS, needsMs / LARGEST_PART)).unref();
  }

  #look(): void {
    const node = this.#readNode();
    for (const watched of this.#watched.values()) {
      const before = watched.hindrances;
      watched.found = this.#read(watched.netns, node);
      watched.hindrances = hindrancesOf(watched.found, watched.bypassed);
      if (before.inside === watched.hindrances.inside && before.across === watched.hindrances.across) continue;
      this.#restrict(watched);
    }
    this.#cgroups.forget();
    this.#programs.withdrawDirect((end) => this.#hindranceTo(end));
  }

  #hindranceTo({ key, permission, reader }: AccelEnd): AccelReason | undefined {
    const watched = this.#watched.get(key.netns);
    if (!watched) return undefined;
    const { hindrances, bypassed } = watched;
    if (!bypassed.includes("cgroup-skb") && this.#cgroups.concern(reader)) return POLICY_REASONS["cgroup-skb"];
    const found = permission === "direct-inside" ? hindrances.inside : hindrances.across;
    return found === "none" ? undefined : found;
  }

  #restrict({ netns, found, hindrances }: Watched): void {
    this.#programs.restrict(netns.cookie(), hindrances);
    if (found.inside.length + found.across.length === 0) return;
    const [policies, where] = [this.policiesOf(netns).map((policy) => policy.where), netns.path];
    this.#log.info({ netns: where, policies, ...hindrances }, "packets meet policies, which bytes must not go past");
  }

  #readNode(): NodePolicies {
    try {
      return readNode(OWN_RULES, this.#legacy.policiesIn(this.#node));
    } catch (error) {
      return { interfaces: [], netfilter: [unreadable(error)] };
    }
  }

  #read(netns: NetworkNamespace, node: NodePolicies): NamespacePolicies {
    try {
      return readPolicies(netns.fd, node, OWN_RULES, this.#legacy.policiesIn(netns));
    } catch (error) {
      return { inside: [unreadable(error)], across: [unreadable(error)] };
    }
  }
}

const NOT_WATCHED: Pick<Watched, "found" | "bypassed"> = { found: { inside: [], across: [] }, bypassed: [] };

/** What cannot be seen is not bypassed. */
function unreadable(error: unknown): Policy {
  return { kind: "netfilter", where: `cannot be seen: ${error instanceof Error ? error.message : String(error)}` };
}

function hindrancesOf({ inside, across }: NamespacePolicies, bypassed: readonly PolicyKind[]): PolicyHindrances {
  const first = (policies: readonly Policy[]): AccelReason => {
    const met = POLICY_KINDS.find(
      (kind) => !bypassed.includes(kind) && policies.some((policy) => policy.kind === kind),
    );
    return met === undefined ? "none" : POLICY_REASONS[met];
  };
  return { inside: first(inside), across: first(across) };
}
