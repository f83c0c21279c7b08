// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { type InboundListener, type InterceptionPart, placeOf } from "../../intercept/backend.ts";
import { halvesOf, partsOf, type WholeInterception } from "../../intercept/composite.ts";
import { between, both, passAll } from "../../intercept/pass-all.ts";
import { type RequestedMode, type Selected, selectInterception } from "../../intercept/select.ts";
import type { InterceptSpec } from "../../intercept/spec.ts";
import { EveryStep } from "../../util/every-step.ts";
import { appliersFor, type Destinations } from "../appliers.ts";

export interface ExchangeRequest {
  readonly mode: RequestedMode;
  readonly spec: InterceptSpec;
  readonly inForce: WholeInterception;
  /** What captures nothing any more, and stays for connections that came by it. */
  readonly outgoing: readonly InterceptionPart[];
  readonly destinations: Omit<Destinations, "bring">;
  /** The next one is in force beside the one before: the last moment to give it what it leads to. */
  readonly onBoth: (next: Selected) => void;
}

export interface Exchanged {
  readonly selected: Selected;
  /** Those of before that are still there, and capture nothing. */
  readonly outgoing: readonly InterceptionPart[];
  /** What was not taken back as it should. */
  readonly errors: readonly unknown[];
}

/**
 * Another mode takes over: everything of it comes into force first, beside what is there, and only then that ends, so
 * that no connection meets neither. What both have in common goes on under the new policy. When it rejects, all is as it
 * was before.
 */
export async function exchange(request: ExchangeRequest): Promise<Exchanged> {
  const { mode, spec, inForce, outgoing, destinations } = request;
  const known = [...partsOf(inForce), ...outgoing];
  const undo = new Map<InterceptionPart, () => Promise<void>>();
  const appliers = appliersFor({
    ...destinations,
    bring: async (backend, asked, apply) => {
      const same = known.find((part) => part.backend === backend);
      const there = same ?? known.find((part) => isInPlaceOf(part, placeOf(backend, asked.name)));
      const had = there?.spec;
      const wide = had ? both(had, asked) : asked;
      const part = same ?? (await apply(wide));
      if (same) await same.update(wide, socketsFor(wide, destinations.sockets()));
      undo.set(part, () => (there && had ? there.update(had) : part.remove()));
      return part;
    },
  });
  const selected = await selectInterception(mode, spec, appliers, async (part) => undo.get(part)?.());
  request.onBoth(selected);

  const now = partsOf(selected.interception);
  const gone = known.filter((part) => !now.includes(part));
  const staying = gone.filter((part) => !now.some((next) => isInPlaceOf(part, placeOf(next.backend, next.spec.name))));
  const steps = new EveryStep();
  for (const part of staying) if (!outgoing.includes(part)) await steps.run(() => part.update(passAll(part.spec)));
  for (const half of halvesOf(selected.interception, spec)) {
    const narrow = between(half.part.spec, half.spec);
    if (!isDeepStrictEqual(half.part.spec, narrow)) await steps.run(() => half.part.update(narrow));
  }
  return { selected, outgoing: staying, errors: steps.errors };
}

function isInPlaceOf(part: InterceptionPart, place: string): boolean {
  return placeOf(part.backend, part.spec.name) === place;
}

function socketsFor({ inbound }: InterceptSpec, sockets: readonly InboundListener[]): readonly InboundListener[] {
  return inbound ? sockets : [];
}
