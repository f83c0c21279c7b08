// SPDX-License-Identifier: Apache-2.0
/** One group: its routes standing at the same time, measured in turns. */
import { causedBy, ShuntError } from "../util/shunt-error.ts";
import { UnsupportedError } from "../util/unsupported-error.ts";
import { measureWatched, type Seen, waitForAcceleration, waysTaken } from "./acceleration.ts";
import { Belongings } from "./belongings.ts";
import { BenchError } from "./bench-error.ts";
import { turnsOf } from "./interleave.ts";
import type { Group, Plan } from "./plan.ts";
import type { Processes } from "./processes.ts";
import type { Lacking } from "./report.ts";
import type { Series } from "./results.ts";
import { Rig, type RigSettings } from "./rig.ts";
import { CLIENTS, type Client, type Load, loadName, type Route, routeName } from "./scenario.ts";

export interface GroupSettings extends RigSettings {
  /** Of one measurement. */
  readonly seconds: Plan["seconds"];
  readonly onProgress: (text: string) => void;
  /** Asked before each round: how many are done, and how long one takes. Undefined when there is to be no more. */
  readonly pace: (rounds: number, roundSeconds: number) => number | undefined;
}

interface Ready {
  readonly rig: Rig;
  readonly seen: ReadonlyMap<Client, Seen>;
}

/** Makes everything, measures, and takes everything away. */
export class GroupRun implements AsyncDisposable {
  /** Routes that could not be made or measured: one sentence each. */
  readonly failed: string[] = [];
  /** Routes that this machine or this build cannot do, as their own programs say. */
  readonly lacking: Lacking[] = [];
  #rounds = 0;
  readonly #processes: Processes;
  readonly #group: Group;
  readonly #settings: GroupSettings;
  readonly #own = new Belongings();
  readonly #ready = new Map<Route, Ready>();
  readonly #series: Series[] = [];

  constructor(processes: Processes, group: Group, settings: GroupSettings) {
    this.#processes = processes;
    this.#group = group;
    this.#settings = settings;
  }

  get rounds(): number {
    return this.#rounds;
  }

  /** Of routes that held to the end. */
  get series(): readonly Series[] {
    return this.#series.filter(({ route }) => this.#ready.has(route));
  }

  /** By route and kind of client, what the agent says of how bytes travelled. */
  get taken(): Readonly<Record<string, string>> {
    const entries = [...this.#ready].flatMap(([route, { seen }]) =>
      [...seen].flatMap(([client, { taken }]): [string, string][] =>
        taken === undefined ? [] : [[`${routeName(route)}/${client}`, taken]],
      ),
    );
    return Object.fromEntries(entries);
  }

  async run(): Promise<void> {
    for (const [index, route] of this.#group.routes.entries())
      await this.#try(route, () => this.#prepare(route, index));
    const startedMs = performance.now();
    for (; ; this.#rounds++) {
      const roundSeconds = this.#rounds === 0 ? 0 : (performance.now() - startedMs) / 1000 / this.#rounds;
      const pace = this.#settings.pace(this.#rounds, roundSeconds);
      if (pace === undefined) return;
      for (const { route, load } of turnsOf(this.#group.loads, (load) => this.#routesUnder(load), this.#rounds))
        await this.#try(route, () => this.#measure(route, load, pace));
    }
  }

  #routesUnder(load: Load): readonly Route[] {
    return [...this.#ready.keys()].filter((route) => this.#group.includes(route, load));
  }

  async #prepare(route: Route, index: number): Promise<void> {
    const { onProgress, name } = this.#settings;
    onProgress(`making ${routeName(route)}`);
    const settings = { ...this.#settings, name: `${name}-${index}` };
    const rig = this.#own.use(await Rig.start(this.#processes, route, settings));
    onProgress(`warming up ${routeName(route)}`);
    const seen = await warmUp(rig, this.#group);
    this.#ready.set(route, { rig, seen });
    for (const load of this.#group.loads.filter((load) => this.#group.includes(route, load))) {
      this.#series.push({ route, load, samples: [] });
    }
  }

  async #measure(route: Route, load: Load, pace: number): Promise<void> {
    const rig = this.#ready.get(route)?.rig;
    // It failed earlier in this round.
    if (rig === undefined) return;
    this.#settings.onProgress(`round ${this.#rounds + 1}: ${routeName(route)} ${loadName(load)}`);
    const sample = await measureWatched(rig, load, this.#settings.seconds[load.test] * pace);
    const series = this.#series.find((candidate) => candidate.route === route && candidate.load === load);
    series?.samples.push(sample);
  }

  /** A route that fails is left out from there on; without direct there is nothing to compare with. */
  async #try(route: Route, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      const interrupted = causedBy(error, BenchError)?.code === "ERR_BENCH_INTERRUPTED";
      if (!(error instanceof ShuntError) || interrupted || route.path === "direct") throw error;
      if (error instanceof UnsupportedError) this.lacking.push({ what: routeName(route), why: error.message });
      else this.failed.push(`${routeName(route)}: ${error.message}`);
      this.#ready.delete(route);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#own[Symbol.asyncDispose]();
  }
}

/** Every kind of load once, so that nothing is cold and every connection is seen to take the path. */
async function warmUp(rig: Rig, group: Group): Promise<ReadonlyMap<Client, Seen>> {
  const seen = new Map<Client, Seen>();
  await waitForAcceleration(rig);
  for (const client of CLIENTS) {
    const loads = group.loads.filter((load) => load.client === client && group.includes(rig.route, load));
    const kinds = new Map(loads.map((load) => [load.test, load]));
    for (const load of kinds.values()) await rig.warmUp(load);
    if (loads.length > 0) seen.set(client, await waysTaken(rig, client));
  }
  return seen;
}
