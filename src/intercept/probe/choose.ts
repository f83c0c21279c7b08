// SPDX-License-Identifier: Apache-2.0
/** From what a machine can do to how traffic is intercepted on it. Pure: the same results give the same choice. */
import type { FeatureName, FeatureResults } from "./features.ts";

export type RequestedMode = "auto" | PossibleMode;
/** `mixed` is eBPF outbound and rules inbound; `tproxy` is TPROXY inbound and REDIRECT outbound. */
export type Mode = PossibleMode | "none";
export type Mechanism = "ebpf" | "iptables" | "tproxy" | "nftables" | "none";

type PossibleMode = "ebpf" | "mixed" | "iptables" | "tproxy" | "nftables";

/** A eBPF both ways with acceleration allowed, B eBPF both ways, C mixed, D rules only. */
export type Tier = "A" | "B" | "C" | "D";

export interface Choice {
  readonly mode: Mode;
  readonly outbound: Mechanism;
  readonly inbound: Mechanism;
  /** Where the proxy learns what an outbound connection meant: our map, or the kernel's connection tracking. */
  readonly originalDestination: "sockops-map" | "conntrack" | "none";
  /** Null when nothing is possible. */
  readonly tier: Tier | null;
  /** One sentence: why this mode and not a better one, or why not the one that was asked for. */
  readonly reason: string;
}

/** What a run needs beyond interception itself. */
export interface Needs {
  /** The workload is the processes of one cgroup, so that rules must match it. */
  readonly cgroupOnly?: boolean;
  /** Absent means true. */
  readonly inbound?: boolean;
  readonly dns?: boolean;
  /** A proxy that is not ours asks for SO_ORIGINAL_DST. */
  readonly externalProxy?: boolean;
}

const OUTBOUND: readonly FeatureName[] = [
  "bpf-syscall",
  "cgroup2",
  "bpffs",
  "ringbuf",
  "cgroup-connect4",
  "cgroup-connect6",
  "cgroup-getpeername",
  "sockops",
  "sk-storage",
  "sk-storage-sockops",
  "netns-cookie-connect",
];
/** One is enough. */
const NETNS_COOKIE: readonly FeatureName[] = ["so-netns-cookie", "netns-cookie-learnt"];
const DNS: readonly FeatureName[] = ["cgroup-sendmsg", "cgroup-recvmsg"];
const EXTERNAL_PROXY: readonly FeatureName[] = ["cgroup-getsockopt"];
/** One is enough. */
const ACCEPTING_END: readonly FeatureName[] = ["netns-cookie-sockops", "sk-storage-inherited"];
/** sk_lookup attaches by link only; the cgroup hooks have an older way as well. */
const INBOUND: readonly FeatureName[] = ["netns", "sk-lookup", "bpf-link"];
const ACCELERATION: readonly FeatureName[] = ["sk-msg", "sockhash", "sk-storage", "netns-cookie-sockops"];
/** One is enough. */
const RULES: readonly FeatureName[] = ["iptables-nft", "iptables-legacy"];

/** What `auto` takes, the best first; TPROXY changes the routing of a namespace, so one has to ask for it. */
const MODES: readonly PossibleMode[] = ["ebpf", "mixed", "iptables", "nftables"];

/** The best mode the machine can do, or the one that was asked for; `none`, with the reason, when it can't be. */
export function choose(results: FeatureResults, requested: RequestedMode = "auto", needs: Needs = {}): Choice {
  const possible = (mode: PossibleMode) => obstacle(results, mode, needs) === undefined;
  if (requested !== "auto") {
    const why = obstacle(results, requested, needs);
    if (why !== undefined) return nothing(`${requested} is not possible: ${why}`);
    return chosen(requested, results, `${requested} was asked for`);
  }
  const mode = MODES.find(possible);
  if (mode === undefined) {
    const rules = [iptablesObstacle(results, needs), nftablesObstacle(results, needs)].join("; ");
    return nothing(`eBPF is not possible: ${obstacle(results, "ebpf", needs)}; nor are rules: ${rules}`);
  }
  if (mode === "ebpf") return chosen(mode, results, "the kernel has every hook that eBPF interception needs");
  const better = mode === "mixed" ? "eBPF inbound" : "eBPF";
  const nor = mode === "nftables" ? `; nor is iptables: ${iptablesObstacle(results, needs)}` : "";
  return chosen(mode, results, `${better} is not possible: ${obstacle(results, "ebpf", needs)}${nor}`);
}

function chosen(mode: PossibleMode, results: FeatureResults, reason: string): Choice {
  const { outbound, inbound } = mechanismsOf(mode, results);
  const originalDestination = outbound === "ebpf" ? "sockops-map" : "conntrack";
  return { mode, outbound, inbound, originalDestination, tier: tierOf(mode, results), reason };
}

function mechanismsOf(mode: PossibleMode, results: FeatureResults): { outbound: Mechanism; inbound: Mechanism } {
  if (mode === "mixed") {
    const byIptables = iptablesObstacle(results, {}) === undefined;
    return { outbound: "ebpf", inbound: byIptables ? "iptables" : "nftables" };
  }
  // As in Istio: TPROXY sees only packets that arrive.
  return mode === "tproxy" ? { outbound: "iptables", inbound: "tproxy" } : { outbound: mode, inbound: mode };
}

function nothing(reason: string): Choice {
  return { mode: "none", outbound: "none", inbound: "none", originalDestination: "none", tier: null, reason };
}

function tierOf(mode: PossibleMode, results: FeatureResults): Tier {
  if (mode === "mixed") return "C";
  if (mode !== "ebpf") return "D";
  return firstMissing(results, ACCELERATION) === undefined ? "A" : "B";
}

/** Why a mode cannot be; undefined when it can. */
function obstacle(results: FeatureResults, mode: PossibleMode, needs: Needs): string | undefined {
  switch (mode) {
    case "iptables":
      return iptablesObstacle(results, needs);
    case "nftables":
      return nftablesObstacle(results, needs);
    case "tproxy":
      return (
        iptablesObstacle(results, needs) ?? (needs.inbound === false ? undefined : firstMissing(results, ["tproxy"]))
      );
    case "ebpf":
    case "mixed":
      return hookObstacle(results, mode, needs);
  }
}

function hookObstacle(results: FeatureResults, mode: "ebpf" | "mixed", needs: Needs): string | undefined {
  const outbound =
    firstMissing(results, [...OUTBOUND, ...(needs.dns ? DNS : []), ...(needs.externalProxy ? EXTERNAL_PROXY : [])]) ??
    allMissing(results, NETNS_COOKIE) ??
    (needs.externalProxy ? allMissing(results, ACCEPTING_END) : undefined);
  if (outbound !== undefined || needs.inbound === false) return outbound;
  if (mode === "ebpf") return firstMissing(results, INBOUND);
  const whole = { ...needs, cgroupOnly: false };
  const iptables = iptablesObstacle(results, whole);
  const nftables = nftablesObstacle(results, whole);
  return iptables !== undefined && nftables !== undefined ? `${iptables}; ${nftables}` : undefined;
}

function iptablesObstacle(results: FeatureResults, needs: Needs): string | undefined {
  const missing = allMissing(results, RULES);
  if (missing !== undefined) return missing;
  return needs.cgroupOnly ? firstMissing(results, ["cgroup2", "xt-cgroup"]) : undefined;
}

function nftablesObstacle(results: FeatureResults, needs: Needs): string | undefined {
  return firstMissing(results, ["nftables", ...(needs.cgroupOnly ? (["cgroup2", "nft-cgroup"] as const) : [])]);
}

/** Undefined when one of them is there. */
function allMissing(results: FeatureResults, names: readonly FeatureName[]): string | undefined {
  const missing = names.map((name) => firstMissing(results, [name]));
  return missing.every((why) => why !== undefined) ? missing.join("; ") : undefined;
}

function firstMissing(results: FeatureResults, names: readonly FeatureName[]): string | undefined {
  for (const name of names) {
    const result = results.get(name);
    if (result === undefined) return `${name} (was not tried)`;
    if (!result.ok) return `${name} (${result.reason})`;
  }
  return undefined;
}
