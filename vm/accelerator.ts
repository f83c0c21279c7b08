// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import type { Emulator, Kernel } from "./parts.ts";
import { runInVm } from "./qemu.ts";

/** Long for a boot with KVM, short for a wait; inside a VM /dev/kvm may open and the guest then stand still. */
const PROOF_MS = 40_000;

/** "kvm" where a guest boots with it, else "tcg", and why, in a word. */
export async function proveAccelerator(
  kernel: Kernel,
  emulator: Emulator,
): Promise<{ name: "kvm" | "tcg"; why: string }> {
  if (!existsSync("/dev/kvm")) return { name: "tcg", why: "there is no /dev/kvm" };
  try {
    const run = await runInVm(kernel, emulator, { command: "true", timeoutMs: PROOF_MS, accelerator: "kvm" });
    return run.status === 0
      ? { name: "kvm", why: "a guest booted with it" }
      : { name: "tcg", why: `exit ${run.status}` };
  } catch (error) {
    const [first = ""] = (error as Error).message.split("\n");
    return { name: "tcg", why: `KVM: ${first.slice(0, 120)}` };
  }
}
