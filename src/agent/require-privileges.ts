// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { UnsupportedError } from "../util/unsupported-error.ts";

/** <linux/capability.h>: namespaces are entered with one, sockets marked and rules made with the other. */
const NEEDED = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21 } as const;

/** Throws an UnsupportedError that names what is missing and what works all the same. */
export function requirePrivileges(command: string): void {
  const missing = missingCapabilities(readFileSync("/proc/self/status", "utf8"));
  if (missing.length === 0) return;
  throw new UnsupportedError(
    `${command} needs root, or at least ${missing.join(" and ")}; probe, run --check and completion work without`,
  );
}

/** Of those needed, by name; `status` is the text of /proc/self/status. */
export function missingCapabilities(status: string): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(NEEDED)
    .filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n)
    .map(([name]) => name);
}
