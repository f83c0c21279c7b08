// SPDX-License-Identifier: Apache-2.0
/** Every back-end by its name: whoever adds one writes it down here. */
import type { Backend, BackendName } from "./backend.ts";
import { ebpfRules } from "./ebpf/rules-backend.ts";
import { iptablesBackend } from "./iptables/backend.ts";
import { nftablesBackend } from "./nftables/backend.ts";
import { tproxyBackend } from "./tproxy/backend.ts";

/** What a command can do with a back-end and no agent; nobody has to run for what it applies to go on. */
export type RulesBackend = Pick<Backend, "name" | "plan" | "render" | "apply" | "verify" | "remove" | "findOurs">;

export const BACKENDS: Readonly<Record<BackendName, RulesBackend>> = {
  ebpf: ebpfRules,
  iptables: iptablesBackend,
  tproxy: tproxyBackend,
  nftables: nftablesBackend,
};
