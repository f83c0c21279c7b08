// SPDX-License-Identifier: Apache-2.0
import type { StatusReport } from "../../src/config/formats/status.ts";
import type { ShuntAgent } from "./shunt.ts";

/** How bytes go through the agent: each by the proxies' hands, or past them where it may. */
export const ACCELERATIONS = ["copy", "auto"] as const;
export type Acceleration = (typeof ACCELERATIONS)[number];

/** Fields of the agent's configuration. */
export function accelerationFields(acceleration: Acceleration, fields: Record<string, unknown> = {}) {
  return { acceleration: { mode: acceleration === "auto" ? "auto" : "off", ...fields } };
}

/** Why the agent copies although it may do otherwise; undefined where it doesn't, or wasn't asked to. */
export async function missingAcceleration(agent: ShuntAgent, acceleration: Acceleration): Promise<string | undefined> {
  if (acceleration === "copy") return undefined;
  const status = await agent.ask<StatusReport>("status");
  const { state, reason } = status.acceleration;
  return state === "on" ? undefined : `acceleration is ${state}: ${reason}`;
}
