// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

let counted: number | undefined;

/** How many CPUs the machine could ever have: the number of values in an entry of a per-CPU map. */
export function possibleCpus(): number {
  counted ??= countCpus(readFileSync("/sys/devices/system/cpu/possible", "utf8"));
  return counted;
}

/** "0-3,8" → 5 */
export function countCpus(list: string): number {
  return list
    .trim()
    .split(",")
    .map((range) => range.split("-").map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}
