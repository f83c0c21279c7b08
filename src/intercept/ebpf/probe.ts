// SPDX-License-Identifier: Apache-2.0
import type { ProbeAnswer } from "../backend.ts";
import { BPF_OBJECTS } from "../bpf-objects.ts";
import { choose } from "../probe/choose.ts";
import { probe as probeMachine } from "../probe/probe.ts";

/** Whether every hook that interception in both directions needs works here, tried in namespaces and a cgroup of its own. */
export async function probe(): Promise<ProbeAnswer> {
  const { mode, reason } = choose(await probeMachine(BPF_OBJECTS), "ebpf");
  return mode === "ebpf" ? { ok: true } : { ok: false, reason };
}
