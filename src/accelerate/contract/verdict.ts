// SPDX-License-Identifier: Apache-2.0
import { type BehaviourName, behaviours, type Need } from "./behaviours.ts";

/** `worked-around`: broken by itself, ok with what Shunt does about it. `untested` counts as broken. */
export const VERDICTS = ["ok", "broken", "worked-around", "untested"] as const;
export type Verdict = (typeof VERDICTS)[number];

export interface BehaviourVerdict {
  readonly verdict: Verdict;
  /** What was seen, or why it was not tried. */
  readonly detail: string;
}

export type BehaviourVerdicts = Readonly<Record<BehaviourName, BehaviourVerdict>>;

/**
 * Which paths this kernel may be given. `on`: all; `asymmetric`: what applications send, not what they receive;
 * `splice-only`: between the proxies' own sockets; `off`: none.
 */
export type Acceleration = "on" | "asymmetric" | "splice-only" | "off";

export interface Contract {
  readonly acceleration: Acceleration;
  readonly behaviours: BehaviourVerdicts;
}

/** The best first; each with what forbids it. */
const FORBIDDEN: readonly (readonly [Acceleration, readonly Need[]])[] = [
  ["on", ["any", "application", "receiver"]],
  ["asymmetric", ["any", "application"]],
  ["splice-only", ["any"]],
];

/** The one place where verdicts become a decision. Pure. */
export function accelerationOf(verdicts: BehaviourVerdicts): Acceleration {
  const missing = new Set<Need>(behaviours.filter(({ name }) => !holds(verdicts[name])).map(({ need }) => need));
  return FORBIDDEN.find(([, needs]) => !needs.some((need) => missing.has(need)))?.[0] ?? "off";
}

/** The behaviours that keep acceleration from being `on`, in the order of the report. */
export function obstaclesOf(verdicts: BehaviourVerdicts): BehaviourName[] {
  const matters = new Set<Need>(FORBIDDEN[0]?.[1]);
  return behaviours.filter(({ name, need }) => matters.has(need) && !holds(verdicts[name])).map(({ name }) => name);
}

/** Whether a stream verdict that lets everything pass must be attached to maps of sockets: without it FIONREAD is wrong. */
export function wantsStreamVerdict(verdicts: BehaviourVerdicts): boolean {
  return verdicts["fionread-plain"].verdict === "worked-around";
}

function holds({ verdict }: BehaviourVerdict): boolean {
  return verdict === "ok" || verdict === "worked-around";
}
