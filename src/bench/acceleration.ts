// SPDX-License-Identifier: Apache-2.0
/** Whether bytes really took the way that a route's name promises, by what the agent says of connections under way. */
import { setTimeout as sleep } from "node:timers/promises";
import { UnsupportedError } from "../util/unsupported-error.ts";
import { BenchError } from "./bench-error.ts";
import type { Rig } from "./rig.ts";
import type { Client, Load } from "./scenario.ts";

/** As flows and records have it. */
export interface FlowAcceleration {
  readonly sent: string;
  readonly received: string;
  readonly reason: string;
}

export interface Seen {
  /** Ways and reasons of the connections seen; absent where nothing of the kind is told. */
  readonly taken?: string;
  /** Why ratios would be those of something else. */
  readonly doubt?: string;
}

const PROBE_SECONDS = 0.3;
const CONNECTIONS = 4;
/** The self-test of the kernel takes three seconds on a quiet machine. */
const VERDICT_MS = 30_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Looks at the connections of a load. */
export async function waysTaken(rig: Rig, client: Client): Promise<Seen> {
  const { agent } = rig.hops;
  const promised = promisedBy(rig.route.path);
  if (agent === undefined || promised === undefined) return {};
  const load: Load = { client, test: "latency", connections: CONNECTIONS, bytes: 100 };
  const flows = await agent.flowsDuring(rig.run(load, PROBE_SECONDS));
  const seen = flows.map((flow) => (flow as { readonly acceleration?: FlowAcceleration }).acceleration);
  return judgeWays(client, promised, seen);
}

/** Ways that are what a route's name says; undefined where it says nothing. */
function promisedBy(path: string): readonly string[] | undefined {
  if (path === "ebpf-accelerated") return ["leg"];
  if (path === "ebpf-spliced") return ["direct", "leg", "splice"];
  return undefined;
}

/** Throws when polling programs, which can always be accelerated, are not. */
export function judgeWays(
  client: Client,
  promised: readonly string[],
  seen: readonly (FlowAcceleration | undefined)[],
): Seen {
  const told = seen.filter((acceleration) => acceleration !== undefined);
  const taken = countAlike(told.map(({ sent, received, reason }) => `sent ${sent}, received ${received} (${reason})`));
  const fits = told.some(({ sent, received }) => promised.includes(sent) || promised.includes(received));
  if (fits) return { taken };
  const why = told.length === 0 ? "the agent says nothing of how bytes travel" : `nothing was accelerated: ${taken}`;
  if (client === "polling") throw new BenchError("ERR_BENCH_PATH", why);
  return { taken, doubt: why };
}

function countAlike(texts: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts].map(([text, count]) => `${count} × ${text}`).join("; ");
}

/**
 * An agent intercepts first, and accelerates when it has found its kernel to be fit for that. Throws with the agent's
 * reason when it will not.
 */
export async function waitForAcceleration({ hops: { agent }, route }: Rig): Promise<void> {
  if (agent === undefined || promisedBy(route.path) === undefined) return;
  const deadline = performance.now() + VERDICT_MS;
  for (;;) {
    const now = await agent.acceleration();
    if (now.state === "on") return;
    if (now.state !== "testing" || performance.now() > deadline)
      throw new UnsupportedError(`the agent accelerates nothing: ${now.state}: ${now.reason}`);
    await sleep(100);
  }
}
