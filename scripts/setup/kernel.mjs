// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { join } from "node:path";
import { root } from "./stamp.mjs";

/** r0 = 1; exit: a program every kernel with BPF takes. */
const instructions = Uint8Array.of(0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
const BPF_PROG_TYPE_CGROUP_SKB = 8;

/** Why the kernel loads no BPF program for us: one sentence, or undefined if it does. Tried, not guessed. */
export function whyNoBpf() {
  const path = join(root, "addon/build/Release/shunt.node");
  if (!existsSync(path)) return "the addon is not built";
  const addon = createRequire(import.meta.url)(path);
  const { status, program } = addon.loadProgram({
    type: BPF_PROG_TYPE_CGROUP_SKB,
    expectedAttachType: 0,
    name: "shunt_setup",
    instructions,
    license: "GPL",
  });
  program?.close();
  if (status >= 0) return undefined;
  const name = Object.entries(constants.errno).find(([, value]) => value === -status)?.[0] ?? `errno ${-status}`;
  return `the kernel refuses to load a BPF program (${name}): eBPF interception needs CONFIG_BPF_SYSCALL, CONFIG_CGROUP_BPF and CAP_BPF with CAP_NET_ADMIN or CAP_SYS_ADMIN; iptables mode still works for root`;
}
