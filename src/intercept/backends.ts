// SPDX-License-Identifier: Apache-2.0
/** Every back-end by its name: whoever adds one writes it down here. */
import type { Backend, BackendName } from "./backend.ts";
import { ebpfRules } from "./ebpf/rules-backend.ts";
import { iptablesBackend } from "./iptables/backend.ts";
import { nftablesBackend } from "./nftables/backend.ts";
import { tproxyBackend } from "./tproxy/backend.ts";

export const BACKENDS: Readonly<Record<BackendName, Backend>> = {
  ebpf: ebpfRules,
  iptables: iptablesBackend,
  tproxy: tproxyBackend,
  nftables: nftablesBackend,
};
