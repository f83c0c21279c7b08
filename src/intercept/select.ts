// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../util/shunt-error.ts";
import type { Interception } from "./backend.ts";
import { CompositeInterception, inboundOf, outboundOf } from "./composite.ts";
import type { InterceptSpec } from "./spec.ts";

/** What a user may ask for, and what can come of it. */
export type RequestedMode = "auto" | "ebpf" | "mixed" | "iptables";
export type Mode = "ebpf" | "mixed" | "iptables";

/** Makes a spec take effect in one way; rejects, leaving nothing behind, where the machine cannot. */
export type Apply = (spec: InterceptSpec) => Promise<Interception>;

export interface Selected {
  readonly mode: Mode;
  readonly interception: Interception;
  /** Why not something better; empty when the first choice worked. */
  readonly reason: string;
}

/** Nothing that was tried worked; the message has every attempt with its reason. */
export class NoInterceptionError extends ShuntError<"ERR_INTERCEPT_IMPOSSIBLE"> {}

const ORDER: Readonly<Record<RequestedMode, readonly Mode[]>> = {
  auto: ["ebpf", "mixed", "iptables"],
  ebpf: ["ebpf"],
  mixed: ["mixed"],
  iptables: ["iptables"],
};

/**
 * Tries the modes in order and takes the first that the kernel accepts. What a version number promises is not
 * asked. A mode that was asked for by name is never replaced by another.
 */
export async function selectInterception(
  requested: RequestedMode,
  spec: InterceptSpec,
  ebpf: Apply,
  iptables: Apply,
): Promise<Selected> {
  const refusals: string[] = [];
  for (const mode of ORDER[requested]) {
    // With one direction off, mixed is what ebpf or iptables alone would be.
    if (requested === "auto" && mode === "mixed" && (!spec.inbound || !spec.outbound)) continue;
    try {
      const interception = await applyMode(mode, spec, ebpf, iptables);
      return { mode, interception, reason: refusals.join("; ") };
    } catch (error) {
      refusals.push(`${mode}: ${(error as Error).message}`);
      if (requested !== "auto")
        throw new NoInterceptionError("ERR_INTERCEPT_IMPOSSIBLE", refusals.join("; "), { cause: error });
    }
  }
  throw new NoInterceptionError("ERR_INTERCEPT_IMPOSSIBLE", refusals.join("; "));
}

async function applyMode(mode: Mode, spec: InterceptSpec, ebpf: Apply, iptables: Apply): Promise<Interception> {
  if (mode === "ebpf") return ebpf(spec);
  if (mode === "iptables") return iptables(spec);
  const outbound = await ebpf(outboundOf(spec));
  try {
    return new CompositeInterception(outbound, await iptables(inboundOf(spec)), spec);
  } catch (error) {
    await outbound.remove();
    throw error;
  }
}
