// SPDX-License-Identifier: Apache-2.0
import type { RulesWorkload } from "../../config/command-options.ts";
import type { RulesAction, RulesBackendName } from "../../config/formats/rules.ts";
import { BACKENDS } from "../../intercept/backends.ts";
import { iptablesBackend } from "../../intercept/iptables/backend.ts";
import { installedTools } from "../../intercept/iptables/tools.ts";
import { nftablesBackend } from "../../intercept/nftables/backend.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { ShuntError } from "../../util/shunt-error.ts";
import { agentWithPrograms } from "./agent-holding.ts";

export interface ChosenBackend {
  readonly backend: RulesBackendName;
  readonly why: string;
}

/** Rules of tproxy are found by iptables too, so they are asked for first. */
const HOLDERS: readonly RulesBackendName[] = ["tproxy", "iptables", "nftables", "ebpf"];

/** Where nobody named one: what holds the workload already; else what `--mode auto` would choose among rules. */
export async function chooseBackend(
  action: RulesAction,
  { config, byAgent }: RulesWorkload,
  spec: InterceptSpec,
  signal: AbortSignal,
): Promise<ChosenBackend> {
  const asksTproxy = !byAgent && config.inbound.enabled && config.inbound.preserveSource;
  const asked = { backend: "tproxy", why: "the client's address is to be preserved" } as const;
  // A plan touches nothing, so nothing is tried for it.
  if (action === "plan") return asksTproxy ? asked : byPrograms(signal);
  const agent = agentWithPrograms(config.target);
  if (agent !== undefined) return { backend: "ebpf", why: `${agent}, has the workload` };
  const [holder] = await holdersOf(spec, signal);
  if (holder) return { backend: holder, why: "it has the workload there already" };
  return asksTproxy ? asked : byProbe(spec, signal);
}

/** The back-ends that have something of the workload in its namespace; tproxy stands for its iptables part too. */
export async function holdersOf(spec: InterceptSpec, signal: AbortSignal): Promise<readonly RulesBackendName[]> {
  const path = spec.target.kind === "netns" ? spec.target.path : spec.target.netnsPath;
  const found: RulesBackendName[] = [];
  for (const name of HOLDERS) {
    if (name === "iptables" && found.includes("tproxy")) continue;
    if ((await BACKENDS[name].findOurs(path, signal)).includes(spec.name)) found.push(name);
  }
  return found;
}

async function byPrograms(signal: AbortSignal): Promise<ChosenBackend> {
  const hasIptables = (await installedTools(signal)).length > 0;
  return hasIptables
    ? { backend: "iptables", why: "iptables is installed" }
    : { backend: "nftables", why: "iptables is not installed" };
}

async function byProbe(spec: InterceptSpec, signal: AbortSignal): Promise<ChosenBackend> {
  const { target } = spec;
  const path = target.kind === "netns" ? target.path : target.netnsPath;
  const iptables = await iptablesBackend.probe(path, signal);
  if (iptables.ok) return { backend: "iptables", why: "it works here" };
  const nftables = await nftablesBackend.probe(path, signal);
  if (nftables.ok) return { backend: "nftables", why: `iptables does not work here: ${iptables.reason}` };
  throw new ShuntError(
    "ERR_RULES_IMPOSSIBLE",
    `no rules can be made here: iptables: ${iptables.reason}; nftables: ${nftables.reason}`,
  );
}
