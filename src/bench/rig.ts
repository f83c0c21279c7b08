// SPDX-License-Identifier: Apache-2.0
/** One route, standing: namespaces, servers, and what is on the path. */
import { setTimeout as sleep } from "node:timers/promises";
import { Belongings } from "./belongings.ts";
import { BenchError } from "./bench-error.ts";
import type { FoundProxies } from "./find-proxies.ts";
import { startForeignProxies } from "./foreign-hops.ts";
import { type Hops, NO_HOPS } from "./hops.ts";
import { measure, runLoad } from "./measure.ts";
import { makePlace, type Place, SERVER_ADDRESS } from "./place.ts";
import type { Processes, Surroundings } from "./processes.ts";
import type { Sample } from "./sample.ts";
import { type Load, loadName, type Route } from "./scenario.ts";
import { startServers } from "./servers.ts";
import { startShunt } from "./shunt-hops.ts";

/** Long enough for each path of the kernel; programs that compile themselves while they run need more connections. */
const WARM_UP_SECONDS = { latency: 0.15, bulk: 0.15, connect: 0.6 } as const;

export interface RigSettings {
  /** Begins the names of all that is made. */
  readonly name: string;
  readonly folder: string;
  readonly proxies: FoundProxies;
}

export class Rig implements AsyncDisposable {
  readonly route: Route;
  readonly hops: Hops;
  readonly #processes: Processes;
  readonly #where: Surroundings;
  readonly #own: Belongings;

  private constructor(processes: Processes, route: Route, place: Place, hops: Hops, own: Belongings) {
    this.route = route;
    this.hops = hops;
    this.#processes = processes;
    this.#own = own;
    const { clientCgroup: cgroup } = hops;
    this.#where = { netns: place.client, ...(cgroup === undefined ? {} : { cgroup }) };
  }

  static async start(processes: Processes, route: Route, settings: RigSettings): Promise<Rig> {
    const own = new Belongings();
    try {
      const place = await makePlace(processes, route.topology, settings.name, own);
      await startServers(processes, place.server, SERVER_ADDRESS, own);
      return new Rig(processes, route, place, await hopsOf(processes, route, place, settings, own), own);
    } catch (error) {
      await own[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  /** Runs a load that is not counted, and throws unless every connection of it passed every proxy of the route. */
  async warmUp(load: Load): Promise<void> {
    const before = await this.hops.passed();
    const report = await runLoad(this.#processes, this.#where, load, WARM_UP_SECONDS[load.test]);
    const expected = report.opened * this.route.proxies;
    const deadline = performance.now() + 2_000;
    let passed = 0;
    // An agent hears of connections from its workers a little later.
    for (; performance.now() < deadline; await sleep(20)) {
      passed = (await this.hops.passed()) - before;
      if (passed >= expected) return;
    }
    const what = `${expected} passages of proxies were expected, and there were ${passed}`;
    throw new BenchError("ERR_BENCH_PATH", `${loadName(load)} did not take the path: ${what}`);
  }

  /** Runs a load for what is seen meanwhile. */
  run(load: Load, seconds: number): Promise<unknown> {
    return runLoad(this.#processes, this.#where, load, seconds);
  }

  measure(load: Load, seconds: number): Promise<Sample> {
    return measure(this.#processes, this.#where, load, seconds);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#own[Symbol.asyncDispose]();
  }
}

async function hopsOf(
  processes: Processes,
  route: Route,
  place: Place,
  { folder, proxies }: RigSettings,
  own: Belongings,
): Promise<Hops> {
  if (route.proxy === null) return NO_HOPS;
  if (route.proxy === "shunt") return startShunt(processes, route, place, folder, own);
  return startForeignProxies(processes, route, place, { folder, program: proxies.get(route.proxy) }, own);
}
