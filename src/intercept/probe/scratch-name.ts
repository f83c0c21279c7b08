// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";

let counter = 0;

/** Name of something that a probe makes where others see it; tells whose it is, should the probe be killed. */
export function scratchName(): string {
  counter += 1;
  return `shunt-probe-${process.pid}-${Date.now().toString(36)}-${counter}`;
}

/** Whether a probe made it that has ended. A pid that is in use again keeps its things a little longer. */
export function isAbandoned(name: string): boolean {
  const pid = /^shunt-probe-(\d+)-/.exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}
