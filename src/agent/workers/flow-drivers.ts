// SPDX-License-Identifier: Apache-2.0
import type { AccelerationSource } from "../../accelerate/acceleration-source.ts";
import { FlowDriver } from "../../accelerate/flow-driver.ts";

/** Those of this thread, by the namespace of their workload: any one of a namespace can ask for its sockets. */
const drivers = new Map<bigint, Set<FlowDriver>>();

/** As the constructor; what it answers with has to be given to `closeFlowDriver`. */
export function openFlowDriver(source: AccelerationSource, netnsFd: number | undefined): FlowDriver {
  const driver = new FlowDriver(source, netnsFd);
  const known = drivers.get(driver.namespace) ?? new Set();
  drivers.set(driver.namespace, known.add(driver));
  return driver;
}

/** Nobody new gets it. */
export function closeFlowDriver(driver: FlowDriver): void {
  const known = drivers.get(driver.namespace);
  known?.delete(driver);
  if (known?.size === 0) drivers.delete(driver.namespace);
  driver[Symbol.dispose]();
}

/** To be disposed of by the caller; undefined where connections to this port of that namespace do not go `direct`. */
export function retainFlowDriver(namespace: bigint, port: number): FlowDriver | undefined {
  const driver = [...(drivers.get(namespace) ?? [])].at(-1);
  return driver?.allows("direct") && !driver.excludes(port) ? driver.retain() : undefined;
}
