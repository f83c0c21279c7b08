// SPDX-License-Identifier: Apache-2.0
import type { ProbeReport } from "../../src/config/formats/probe.ts";
import type { Mode } from "./agent.ts";

export interface ChosenModes {
  readonly modes: readonly Mode[];
  /** For each mode that this machine cannot do: one sentence that says why. */
  readonly excuses: readonly string[];
}

/** Which modes the demo shows, from what `shunt probe` found out by trying. */
export function chooseModes({ mode, reason, features }: ProbeReport): ChosenModes {
  // The reason names what hinders both.
  if (mode === "none") return { modes: [], excuses: [`The demo is not possible on this machine: ${reason}.`] };
  const modes: Mode[] = [];
  const excuses: string[] = [];
  if (mode === "ebpf") modes.push("ebpf");
  else excuses.push(`eBPF mode is left out: ${reason}.`);
  const backends = [features["iptables-nft"], features["iptables-legacy"]];
  if (backends.some((backend) => backend?.ok === true)) modes.push("iptables");
  else
    excuses.push(`iptables mode is left out: ${backends.map((backend) => backend?.reason ?? "not tried").join("; ")}.`);
  return { modes, excuses };
}
