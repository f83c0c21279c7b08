// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { FlowDriver } from "../../accelerate/flow-driver.ts";
import type { SocketEnds } from "../../accelerate/socket-ends.ts";
import { SpliceDriver } from "../../accelerate/splice-driver.ts";
import { createHopLookup, type HopLookup } from "../../intercept/hops.ts";
import {
  createOriginalDestinationLookup,
  interceptionOf,
  type OriginalDestinationLookup,
} from "../../intercept/original-destination.ts";
import { createOwnFlowNoter, type OwnFlowNoter } from "../../intercept/own-flows.ts";
import type { Route } from "../../proxy/proxy-listener.ts";
import type { Splicer } from "../../proxy/splice.ts";
import { acceleratorFor } from "./chosen-paths.ts";
import { closeFlowDriver, flowDriverOf, openFlowDriver, withdrawFlowDriver } from "./flow-drivers.ts";
import { spliceWakesFor } from "./splice-wakes.ts";
import { splicerFor } from "./spliced-flow.ts";
import type { WorkerListener } from "./worker-protocol.ts";

/** What one listener of this thread needs of the kernel's maps, opened as its description asks for it. */
export class ListenerHandles implements Disposable {
  #lookups: readonly OriginalDestinationLookup[] = [];
  #hops: HopLookup | undefined;
  #noter: OwnFlowNoter | undefined;
  readonly #formerNoters: OwnFlowNoter[] = [];
  #driver: FlowDriver | undefined;
  readonly #formerDrivers: Disposable[] = [];
  #splices: SpliceDriver | undefined;
  #described: Partial<WorkerListener> = {};

  /** The route of connections accepted from now on. */
  route(listener: WorkerListener): Route {
    const { workload, mark, source, ownPorts, originals, ownFlows, acceleration, direction, netnsFd } = listener;
    if (!isDeepStrictEqual(originals, this.#described.originals)) {
      const before = this.#lookups;
      this.#lookups = originals.map(createOriginalDestinationLookup);
      // Asked at the moment of accept alone: nobody is in the middle of it.
      for (const lookup of before) lookup[Symbol.dispose]();
      this.#closeHops();
    }
    if (ownFlows && !isDeepStrictEqual(ownFlows, this.#described.ownFlows)) {
      // Kept to the end: connections that are being made take their notes back by it.
      if (this.#noter) this.#formerNoters.push(this.#noter);
      this.#noter = createOwnFlowNoter(ownFlows);
    }
    if (!isDeepStrictEqual(acceleration, this.#described.acceleration)) {
      // Kept to the end, as the noters: flows go on asking it.
      const driver = this.#driver;
      if (driver) {
        withdrawFlowDriver(driver);
        this.#formerDrivers.push({ [Symbol.dispose]: () => closeFlowDriver(driver) });
      }
      this.#driver = acceleration && openFlowDriver(acceleration, netnsFd);
    }
    const splicer = this.#splicerFor(listener);
    const means = {
      splices: splicer !== undefined,
      otherEnd: ({ local, remote }: SocketEnds) => {
        const namespace = this.#hopLookup()?.(local, remote);
        return namespace === undefined ? undefined : flowDriverOf(namespace, remote.port);
      },
    };
    this.#described = listener;
    const [first] = originals;
    return {
      workload,
      mark,
      source,
      ownPorts,
      interception: first === undefined ? "unknown" : interceptionOf(first),
      lookup: firstOf(this.#lookups),
      noteOwnFlow: this.#noter,
      accelerator: this.#driver && acceleratorFor(direction, this.#driver, means),
      splicer,
    };
  }

  /** Opened when the first connection asks: most workloads never do. */
  #hopLookup(): HopLookup | undefined {
    const map = this.#described.originals?.find((each) => each.kind === "ebpf-map");
    this.#hops ??= map && createHopLookup(map);
    return this.#hops;
  }

  #closeHops(): void {
    this.#hops?.[Symbol.dispose]();
    this.#hops = undefined;
  }

  #splicerFor({ splice, netnsFd, direction }: WorkerListener): Splicer | undefined {
    const wakes = splice && spliceWakesFor(splice);
    if (!isDeepStrictEqual(splice, this.#described.splice)) {
      if (this.#splices) this.#formerDrivers.push(this.#splices);
      this.#splices = splice && wakes && new SpliceDriver(splice, netnsFd, wakes.waker);
    }
    return this.#splices && wakes && splicerFor(direction, this.#splices, wakes);
  }

  [Symbol.dispose](): void {
    for (const lookup of this.#lookups) lookup[Symbol.dispose]();
    for (const noter of this.#formerNoters.splice(0)) noter[Symbol.dispose]();
    this.#noter?.[Symbol.dispose]();
    for (const driver of this.#formerDrivers.splice(0)) driver[Symbol.dispose]();
    if (this.#driver) closeFlowDriver(this.#driver);
    this.#closeHops();
    this.#splices?.[Symbol.dispose]();
    this.#lookups = [];
    this.#noter = undefined;
    this.#driver = undefined;
    this.#splices = undefined;
  }
}

type Lookup = Route["lookup"];

function firstOf(lookups: readonly OriginalDestinationLookup[]): Lookup {
  const [only] = lookups;
  if (only && lookups.length === 1) return only;
  return (connection) => {
    for (const lookup of lookups) {
      const found = lookup(connection);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}
