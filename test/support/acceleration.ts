// SPDX-License-Identifier: Apache-2.0
import type { StatusReport } from "../../src/config/formats/status.ts";
import { patienceMs } from "./inbox.ts";
import type { ShuntAgent } from "./shunt.ts";

/** How bytes go through the agent: each by the proxies' hands, or past them where it may. */
export const ACCELERATIONS = ["copy", "auto"] as const;
export type Acceleration = (typeof ACCELERATIONS)[number];

/** What CI has the time for; SHUNT_ORACLE=long takes both. Copying is what every other test of the proxy is about. */
export const TRIED: readonly Acceleration[] = process.env["SHUNT_ORACLE"] === "long" ? ACCELERATIONS : ["auto"];

/** Fields of the agent's configuration. */
export function accelerationFields(acceleration: Acceleration, fields: Record<string, unknown> = {}) {
  return { acceleration: { mode: acceleration === "auto" ? "auto" : "off", ...fields } };
}

/**
 * Why the agent copies although it may do otherwise; undefined where it doesn't, or wasn't asked to. Waits until the
 * agent knows what the kernel can be trusted with.
 */
export async function missingAcceleration(agent: ShuntAgent, acceleration: Acceleration): Promise<string | undefined> {
  if (acceleration === "copy") return undefined;
  const deadline = performance.now() + patienceMs(60_000);
  for (;;) {
    const { state, reason } = (await agent.ask<StatusReport>("status")).acceleration;
    if (state === "on") return undefined;
    if (state !== "testing" || performance.now() > deadline) return `acceleration is ${state}: ${reason}`;
  }
}
