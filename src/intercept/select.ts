// SPDX-License-Identifier: Apache-2.0
import { ImpossibleHereError } from "../util/unsupported-error.ts";
import type { BackendName, InterceptionPart } from "./backend.ts";
import { CompositeInterception, inboundOf, outboundOf, type WholeInterception } from "./composite.ts";
import type { InterceptSpec } from "./spec.ts";

/** What can come of a request. `mixed` is eBPF outbound and rules inbound; the others are back-ends. */
export type Mode = "mixed" | BackendName;
/** What a user may ask for. */
export type RequestedMode = "auto" | Mode;

/** Makes a spec take effect in one way; rejects, leaving nothing behind, where the machine cannot. */
export type Apply = (spec: InterceptSpec) => Promise<InterceptionPart>;
/** Undoes what an `Apply` did, when what it was a part of cannot be had. */
export type TakeBack = (part: InterceptionPart) => Promise<void>;
export type Appliers = Readonly<Record<BackendName, Apply>>;

export interface Selected {
  readonly mode: Mode;
  readonly interception: WholeInterception;
  /** Why not something better; empty when the first choice worked. */
  readonly reason: string;
}

/** Nothing that was tried worked; the message has every attempt with its reason. */
export class NoInterceptionError extends ImpossibleHereError<"ERR_INTERCEPT_IMPOSSIBLE"> {}

/** The back-ends that a request can come to. */
export function backendsFor(requested: RequestedMode): readonly BackendName[] {
  if (requested === "auto" || requested === "mixed") return ["ebpf", ...MIXED_INBOUND];
  return [requested];
}

/** TPROXY is never taken for somebody who has not asked for it: it changes the routing of the namespace. */
const AUTO: readonly Mode[] = ["ebpf", "mixed", "iptables", "nftables"];
/** What takes inbound connections in mixed mode, the first that works. */
const MIXED_INBOUND = ["iptables", "nftables"] as const;

/**
 * Tries the modes in order and takes the first that the kernel accepts. What a version number promises is not
 * asked. A mode that was asked for by name is never replaced by another.
 */
export async function selectInterception(
  requested: RequestedMode,
  spec: InterceptSpec,
  appliers: Appliers,
  takeBack: TakeBack = (part) => part.remove(),
): Promise<Selected> {
  const refusals: string[] = [];
  for (const mode of requested === "auto" ? AUTO : [requested]) {
    // With one direction off, mixed is what ebpf or rules alone would be.
    if (requested === "auto" && mode === "mixed" && (!spec.inbound || !spec.outbound)) continue;
    try {
      const interception = mode === "mixed" ? await applyMixed(spec, appliers, takeBack) : await appliers[mode](spec);
      return { mode, interception, reason: refusals.join("; ") };
    } catch (error) {
      refusals.push(`${mode}: ${(error as Error).message}`);
      if (requested !== "auto")
        throw new NoInterceptionError("ERR_INTERCEPT_IMPOSSIBLE", refusals.join("; "), { cause: error });
    }
  }
  throw new NoInterceptionError("ERR_INTERCEPT_IMPOSSIBLE", refusals.join("; "));
}

async function applyMixed(spec: InterceptSpec, appliers: Appliers, takeBack: TakeBack): Promise<WholeInterception> {
  const outbound = await appliers.ebpf(outboundOf(spec));
  const refusals: Error[] = [];
  for (const backend of MIXED_INBOUND) {
    try {
      return new CompositeInterception(outbound, await appliers[backend](inboundOf(spec)));
    } catch (error) {
      refusals.push(error as Error);
    }
  }
  await takeBack(outbound);
  throw new AggregateError(refusals, refusals.map(({ message }) => message).join("; "));
}
