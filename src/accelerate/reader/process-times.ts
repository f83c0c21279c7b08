// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";

/** USER_HZ, which /proc counts in: 100 on every architecture of Node. */
const TICK_MS = 10;

/** Fields of /proc/PID/stat from the third on: the second, in parentheses, may contain anything. */
function fieldsOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** When a process was started, as milliseconds since 1970. Throws where it is gone. */
export function startOf(pid: number): number {
  const ticks = Number(fieldsOf(pid)[19]);
  const uptime = Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]);
  return Date.now() - uptime * 1_000 + ticks * TICK_MS;
}

/** System calls' CPU time that a process has used with all its threads, in milliseconds. Throws where it is gone. */
export function systemTimeOf(pid: number): number {
  return Number(fieldsOf(pid)[12]) * TICK_MS;
}
