// SPDX-License-Identifier: Apache-2.0
import { runQuietly } from "../scripts/setup/progress.mjs";
import type { Emulator } from "./parts.ts";

/** The number in what a program says of its version. */
async function versionOf(command: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const { output } = await runQuietly(command, { env });
  return /\d+(?:\.\d+)+/.exec(output)?.[0] ?? "unknown";
}

/** What decides besides the kernel: the guest's programs are the host's. */
export async function toolVersions(emulator: Emulator | undefined): Promise<Record<string, string>> {
  return {
    ...(emulator === undefined
      ? {}
      : { qemu: await versionOf([emulator.qemu, "--version"], { ...process.env, ...emulator.env }) }),
    node: process.versions.node,
    iptables: await versionOf(["iptables", "--version"]),
    nft: await versionOf(["nft", "--version"]),
    iproute2: await versionOf(["ip", "-V"]),
    clang: await versionOf(["clang", "--version"]),
  };
}
