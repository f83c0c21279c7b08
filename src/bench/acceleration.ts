// SPDX-License-Identifier: Apache-2.0
/** Whether bytes really took the way that a route's name promises, by what the agent says of connections under way. */
import { setTimeout as sleep } from "node:timers/promises";
import { UnsupportedError } from "../util/unsupported-error.ts";
import { BenchError } from "./bench-error.ts";
import type { Rig } from "./rig.ts";
import type { Sample } from "./sample.ts";
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

const PROBE_SECONDS = 0.4;
const CONNECTIONS = 4;
const MOST_TRIES = 6;
const PAST_THE_PROXY = ["direct", "leg", "splice"];
/** The self-test of the kernel takes three seconds on a quiet machine. */
const VERDICT_MS = 30_000 * Number(process.env["SHUNT_PATIENCE"] ?? "1");

/** Looks at the connections of a load. Throws when polling programs, which can always be accelerated, are not. */
export async function waysTaken(rig: Rig, client: Client): Promise<Seen> {
  const load: Load = { client, test: "latency", connections: CONNECTIONS, bytes: 100 };
  for (let tries = 1; ; tries++) {
    const { seen } = await watchingWays(rig, load, rig.run(load, PROBE_SECONDS));
    if (seen.doubt === undefined || client === "blocking") return seen;
    // On a machine that has much else to do it takes the agent longer to find out who reads.
    if (tries === MOST_TRIES) throw new BenchError("ERR_BENCH_PATH", seen.doubt);
  }
}

/** Measures, and doubts the figures of most connections that were not accelerated on a path that is to be. */
export async function measureWatched(rig: Rig, load: Load, seconds: number): Promise<Sample> {
  // A connection for each request is over before it could be accelerated, on every path.
  if (load.test === "connect") return rig.measure(load, seconds);
  const { result, seen } = await watchingWays(rig, load, rig.measure(load, seconds));
  return seen.doubt === undefined ? result : { ...result, doubt: seen.doubt };
}

async function watchingWays<Result>(
  { hops: { agent }, route }: Rig,
  load: Load,
  doing: Promise<Result>,
): Promise<{ readonly result: Result; readonly seen: Seen }> {
  const promised = promisedBy(route.path, load);
  if (agent === undefined || promised === undefined) return { result: await doing, seen: {} };
  const flows = await agent.flowsDuring(doing);
  const ways = flows.map((flow) => (flow as { readonly acceleration?: FlowAcceleration }).acceleration);
  return { result: await doing, seen: judgeWays(promised, ways) };
}

/**
 * Ways that are what a route's name says; undefined where it says nothing. With everything allowed the agent may well
 * choose to copy for programs that block, and for bulk.
 */
export function promisedBy(
  path: string,
  { client, test }: Pick<Load, "client" | "test">,
): readonly string[] | undefined {
  if (path === "ebpf-accelerated") return ["leg"];
  if (path !== "ebpf-spliced") return undefined;
  return client === "polling" && test === "latency" ? PAST_THE_PROXY : [...PAST_THE_PROXY, "copy"];
}

/** Doubts when fewer than half of the connections went a way that was promised, in one direction at least. */
export function judgeWays(promised: readonly string[], seen: readonly (FlowAcceleration | undefined)[]): Seen {
  const told = seen.filter((acceleration) => acceleration !== undefined);
  if (told.length === 0) return { doubt: "the agent says nothing of how bytes travelled" };
  const taken = countAlike(told.map(({ sent, received, reason }) => `sent ${sent}, received ${received} (${reason})`));
  const fit = told.filter(({ sent, received }) => promised.includes(sent) || promised.includes(received));
  return fit.length * 2 >= told.length ? { taken } : { taken, doubt: `most was not accelerated: ${taken}` };
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
  if (agent === undefined || !route.path.startsWith("ebpf-")) return;
  const deadline = performance.now() + VERDICT_MS;
  for (;;) {
    const now = await agent.acceleration();
    if (now.state === "on") return;
    if (now.state !== "testing" || performance.now() > deadline)
      throw new UnsupportedError(`the agent accelerates nothing: ${now.state}: ${now.reason}`);
    await sleep(100);
  }
}
