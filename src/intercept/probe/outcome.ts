// SPDX-License-Identifier: Apache-2.0
import { VerifierError } from "../../bpf/verifier-error.ts";
import { errnoName, SystemError } from "../../native/status.ts";
import { ExecError } from "../../util/exec.ts";
import { causedBy } from "../../util/shunt-error.ts";
import type { FeatureResult } from "./features.ts";

export const OK: FeatureResult = { ok: true };

export function refused(reason: string): FeatureResult {
  return { ok: false, reason };
}

/** What an attempt came to. */
export async function attempt(action: () => void | Promise<void>): Promise<FeatureResult> {
  try {
    await action();
    return OK;
  } catch (error) {
    return refused(reasonOf(error));
  }
}

/** The exact sentence: what was tried, with the kernel's errno or the tool's last line. */
export function reasonOf(error: unknown): string {
  if (error instanceof VerifierError) {
    const system = causedBy(error, SystemError);
    return system === undefined ? error.message : `${system.errnoName}: ${error.message}`;
  }
  if (error instanceof ExecError && error.code === "ERR_EXEC_NOT_FOUND") return `program ${error.program} not found`;
  const { message, code, errno } = error as NodeJS.ErrnoException;
  // Node's own file-system errors name the call and the path already.
  if (code === undefined && errno !== undefined) return `${errnoName(errno)}: ${message}`;
  return message;
}

/** Multiplies every deadline on slow machines. */
export function patienceMs(milliseconds: number): number {
  return milliseconds * Number(process.env["SHUNT_PATIENCE"] ?? "1");
}
