// SPDX-License-Identifier: Apache-2.0
/** From what a machine can do to how traffic is intercepted on it. Pure: the same results give the same choice. */
import type { FeatureName, FeatureResults } from "./features.ts";

export type RequestedMode = "auto" | "ebpf" | "mixed" | "iptables";
/** `mixed` is eBPF outbound and rules inbound. */
export type Mode = "ebpf" | "mixed" | "iptables" | "none";
export type Mechanism = "ebpf" | "iptables" | "none";

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
  "netns-cookie-connect",
  "netns-cookie-sockops",
  "so-netns-cookie",
];
const DNS: readonly FeatureName[] = ["cgroup-sendmsg", "cgroup-recvmsg"];
const EXTERNAL_PROXY: readonly FeatureName[] = ["cgroup-getsockopt"];
/** sk_lookup attaches by link only; the cgroup hooks have an older way as well. */
const INBOUND: readonly FeatureName[] = ["netns", "sk-lookup", "bpf-link"];
const ACCELERATION: readonly FeatureName[] = ["sk-msg", "sockhash", "sk-storage", "netns-cookie-sockops"];
/** One is enough. */
const RULES: readonly FeatureName[] = ["iptables-nft", "iptables-legacy"];

const MODES: readonly Exclude<Mode, "none">[] = ["ebpf", "mixed", "iptables"];

/** The best mode the machine can do, or the one that was asked for; `none`, with the reason, when it can't be. */
export function choose(results: FeatureResults, requested: RequestedMode = "auto", needs: Needs = {}): Choice {
  const possible = (mode: Exclude<Mode, "none">) => obstacle(results, mode, needs) === undefined;
  if (requested !== "auto") {
    const why = obstacle(results, requested, needs);
    if (why !== undefined) return nothing(`${requested} is not possible: ${why}`);
    return chosen(requested, results, `${requested} was asked for`);
  }
  const mode = MODES.find(possible);
  if (mode === undefined) {
    return nothing(
      `eBPF is not possible: ${obstacle(results, "ebpf", needs)}; nor are rules: ${obstacle(results, "iptables", needs)}`,
    );
  }
  if (mode === "ebpf") return chosen(mode, results, "the kernel has every hook that eBPF interception needs");
  const better = mode === "mixed" ? "eBPF inbound" : "eBPF";
  return chosen(mode, results, `${better} is not possible: ${obstacle(results, "ebpf", needs)}`);
}

function chosen(mode: Exclude<Mode, "none">, results: FeatureResults, reason: string): Choice {
  const outbound = mode === "iptables" ? "iptables" : "ebpf";
  const inbound = mode === "ebpf" ? "ebpf" : "iptables";
  const originalDestination = outbound === "ebpf" ? "sockops-map" : "conntrack";
  return { mode, outbound, inbound, originalDestination, tier: tierOf(mode, results), reason };
}

function nothing(reason: string): Choice {
  return { mode: "none", outbound: "none", inbound: "none", originalDestination: "none", tier: null, reason };
}

function tierOf(mode: Exclude<Mode, "none">, results: FeatureResults): Tier {
  if (mode === "iptables") return "D";
  if (mode === "mixed") return "C";
  return firstMissing(results, ACCELERATION) === undefined ? "A" : "B";
}

/** Why a mode cannot be; undefined when it can. */
function obstacle(results: FeatureResults, mode: Exclude<Mode, "none">, needs: Needs): string | undefined {
  if (mode === "iptables") return rulesObstacle(results, needs);
  const outbound = firstMissing(results, [
    ...OUTBOUND,
    ...(needs.dns ? DNS : []),
    ...(needs.externalProxy ? EXTERNAL_PROXY : []),
  ]);
  if (outbound !== undefined || needs.inbound === false) return outbound;
  return mode === "ebpf" ? firstMissing(results, INBOUND) : rulesObstacle(results, { ...needs, cgroupOnly: false });
}

function rulesObstacle(results: FeatureResults, needs: Needs): string | undefined {
  const missing = RULES.map((name) => firstMissing(results, [name]));
  if (missing.every((why) => why !== undefined)) return missing.join("; ");
  return needs.cgroupOnly ? firstMissing(results, ["cgroup2", "xt-cgroup"]) : undefined;
}

function firstMissing(results: FeatureResults, names: readonly FeatureName[]): string | undefined {
  for (const name of names) {
    const result = results.get(name);
    if (result === undefined) return `${name} (was not tried)`;
    if (!result.ok) return `${name} (${result.reason})`;
  }
  return undefined;
}
