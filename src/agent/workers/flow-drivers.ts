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

/** The workload is no longer there. */
export function closeFlowDriver(driver: FlowDriver): void {
  withdrawFlowDriver(driver);
  driver[Symbol.dispose]();
}

/** Nobody new gets it; those who have it keep it. */
export function withdrawFlowDriver(driver: FlowDriver): void {
  const known = drivers.get(driver.namespace);
  known?.delete(driver);
  if (known?.size === 0) drivers.delete(driver.namespace);
}

/** Undefined where connections to this port of that namespace do not go `direct`. */
export function flowDriverOf(namespace: bigint, port: number): FlowDriver | undefined {
  const driver = [...(drivers.get(namespace) ?? [])].at(-1);
  return driver?.allows("direct") && !driver.excludes(port) ? driver : undefined;
}
