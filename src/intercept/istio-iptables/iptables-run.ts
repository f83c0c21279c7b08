// SPDX-License-Identifier: Apache-2.0
/** Istio's iptables rules in one namespace: apply, repair, remove. On a throw the namespace is as it was. */

import type { IptablesProgram } from "../istio/iptables-program.ts";
import type { ChainFact } from "../istio/render-iptables.ts";
import { chainFacts, renderRestore } from "../istio/render-iptables.ts";
import type { FamilyRules } from "./family.ts";
import type { Candidate } from "./flavour.ts";
import { IstioIptablesError } from "./istio-iptables-error.ts";
import { guardrailsIn, type SavedRules } from "./saved-rules.ts";
import { describeDrift, type TableState, tableStates } from "./table-state.ts";

export interface IptablesRunOptions {
  readonly chainPrefix: string;
  /** Put on every rule; absent: none. */
  readonly comment?: string;
  readonly enableIpv6: boolean;
  readonly reconcile: boolean;
  readonly forceApply: boolean;
}

/** What a run did; `undo` takes it back when a later step fails. */
export interface RunOutcome {
  readonly change: "none" | "applied" | "completed" | "reconciled";
  readonly details: readonly string[];
  undo(): Promise<void>;
}

interface FamilyJob {
  readonly rules: FamilyRules;
  readonly facts: readonly ChainFact[];
  readonly before: SavedRules;
  readonly states: readonly TableState[];
}

/** Errors: ERR_ISTIO_DRIFT, ERR_ISTIO_REFUSED, ERR_ISTIO_UNAVAILABLE. */
export async function applyIptables(
  candidate: Candidate,
  program: IptablesProgram,
  options: IptablesRunOptions,
): Promise<RunOutcome> {
  const jobs: FamilyJob[] = [];
  for (const rules of plannedFamilies(candidate, options.enableIpv6)) {
    const facts = chainFacts(program, rules.family, commentOf(options));
    const before = await rules.read();
    jobs.push({ rules, facts, before, states: await tableStates(rules, before, facts, options.chainPrefix) });
  }
  const states = jobs.flatMap((job) => job.states);
  // Only a run of ours that was ended in the middle leaves them, and it had leave to replace what was there.
  const wasInterrupted = jobs.some((job) => guardrailsIn(job.before).length > 0);
  const change = decide(states, { ...options, reconcile: options.reconcile || wasInterrupted });
  const details = states.flatMap((state) => state.drifts.map(describeDrift));
  const outcome = { change, details: change === "reconciled" ? details : [], undo: () => putBack(jobs) };
  if (change !== "none") {
    try {
      if (change === "reconciled") await replace(jobs, program, options);
      else await restoreTables(jobs, program, options);
    } catch (error) {
      await undoAfter(error, outcome);
    }
  }
  for (const { rules } of jobs) await rules.unblock();
  // Of a run that was ended while IPv6 was on. Where IPv6 can't be read there are none.
  if (!options.enableIpv6) await candidate.v6?.unblock().catch(() => undefined);
  return outcome;
}

/** Puts things back after `error` and throws it, or a further failure beside it. */
export async function undoAfter(error: unknown, outcome: Pick<RunOutcome, "undo">): Promise<never> {
  try {
    await outcome.undo();
  } catch (failure) {
    throw new IstioIptablesError(
      "ERR_ISTIO_NOT_RESTORED",
      `${messageOf(error)}; and the rules before could not be put back: ${messageOf(failure)}`,
      { cause: error },
    );
  }
  throw error;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function decide(
  states: readonly TableState[],
  { reconcile, forceApply }: Pick<IptablesRunOptions, "reconcile" | "forceApply">,
): RunOutcome["change"] {
  const fresh = states.every((state) => state.status === "absent");
  if (fresh) return states.length === 0 ? "none" : "applied";
  if (states.some((state) => state.status === "different")) {
    if (reconcile) return "reconciled";
    const drifts = states.filter((state) => state.status === "different").flatMap((state) => state.drifts);
    throw new IstioIptablesError(
      "ERR_ISTIO_DRIFT",
      `the rules that are there differ from what these flags ask for (${drifts.map(describeDrift).slice(0, 3).join("; ")}); ` +
        "--reconcile replaces them, --cleanup-only removes them",
    );
  }
  const complete = states.every((state) => state.status === "equal");
  if (forceApply) {
    if (reconcile) return "reconciled";
    throw new IstioIptablesError(
      "ERR_ISTIO_DRIFT",
      "--force-apply: the chains are there already; --reconcile replaces them, --cleanup-only removes them",
    );
  }
  return complete ? "none" : "completed";
}

function plannedFamilies({ v4, v6, flavour }: Candidate, enableIpv6: boolean): FamilyRules[] {
  if (!enableIpv6) return [v4];
  if (v6 !== undefined) return [v4, v6];
  throw new IstioIptablesError(
    "ERR_ISTIO_UNAVAILABLE",
    `the namespace has IPv6, but ip6tables of flavour ${flavour} is not installed: IPv6 would pass by the proxy`,
  );
}

function commentOf({ comment }: Pick<IptablesRunOptions, "comment">): { comment?: string } {
  return comment === undefined ? {} : { comment };
}

/** The tables that have nothing of ours yet. */
async function restoreTables(
  jobs: readonly FamilyJob[],
  program: IptablesProgram,
  options: IptablesRunOptions,
): Promise<void> {
  for (const { rules, states } of jobs) {
    const absent = states.filter((state) => state.status === "absent").map((state) => state.table);
    const part = rules.family === 4 ? program.v4 : program.v6;
    const missing = part.filter((rule) => absent.includes(rule.table));
    await rules.restore(renderRestore({ v4: missing, v6: missing }, rules.family, commentOf(options)));
  }
}

/** Everything of all families anew, while nothing gets through: drift in one says nothing good of the other. */
async function replace(
  jobs: readonly FamilyJob[],
  program: IptablesProgram,
  options: IptablesRunOptions,
): Promise<void> {
  for (const { rules } of jobs) await rules.block();
  for (const { rules, facts } of jobs) await rules.cleanUp(facts);
  for (const { rules } of jobs) await rules.restore(renderRestore(program, rules.family, commentOf(options)));
}

/** The guardrails go last, and stay when the rules can't be put back: blocked is better than past the proxy. */
async function putBack(jobs: readonly FamilyJob[]): Promise<void> {
  for (const { rules, before, facts } of jobs) await rules.putBack(before, facts);
  for (const { rules, before } of jobs) if (guardrailsIn(before).length === 0) await rules.unblock();
}

/** Removes all of ours in both families of the flavour. Whether there was anything. */
export async function cleanUpIptables(
  candidate: Candidate,
  program: IptablesProgram,
  options: Pick<IptablesRunOptions, "comment">,
): Promise<void> {
  for (const rules of [candidate.v4, candidate.v6]) {
    if (rules === undefined) continue;
    try {
      await rules.cleanUp(chainFacts(program, rules.family, commentOf(options)));
      await rules.unblock();
    } catch (error) {
      // Nothing can be left where nothing can be read.
      if (rules.family === 6 && (await rules.saveText().catch(() => undefined)) === undefined) continue;
      throw error;
    }
  }
}
