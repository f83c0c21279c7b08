// SPDX-License-Identifier: Apache-2.0
/**
 * CPU time that the parties of a measurement use. It is what the whole machine was busy (/proc/stat) less what processes
 * used that take no part: so work that the kernel does in soft interrupts and in kworkers (sockmap's backlog runs there)
 * is counted, whoever the scheduler charges with it, and a neighbour is not. Kernel threads count as parties.
 */
import { readdirSync, readFileSync } from "node:fs";

/** USER_HZ: the unit of /proc on every architecture Node runs on (proc_pid_stat(5)). */
const TICKS_PER_SECOND = 100;
/** <linux/sched.h>. */
const PF_KTHREAD = 0x0020_0000;

export interface ProcessTimes {
  readonly pid: number;
  readonly parent: number;
  readonly kernelThread: boolean;
  /** Ticks, threads that have ended included. */
  readonly own: number;
  /** Ticks of children that have ended and were waited for, and of theirs. */
  readonly children: number;
}

export interface CpuSnapshot {
  /** Ticks of all CPUs outside idle. */
  readonly busy: number;
  /** Ticks of processes that take no part. */
  readonly foreign: number;
}

/** Seconds between two snapshots. */
export function partySeconds(before: CpuSnapshot, after: CpuSnapshot): number {
  const busy = after.busy - before.busy;
  const foreign = Math.max(0, after.foreign - before.foreign);
  return Math.max(0, busy - foreign) / TICKS_PER_SECOND;
}

/** Parties are the descendants of this process; itself it only watches. */
export function takeCpuSnapshot(proc = "/proc", self = process.pid): CpuSnapshot {
  const busy = busyTicks(readFileSync(`${proc}/stat`, "utf8"));
  const processes = readdirSync(proc)
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [parseProcessStat(readFileSync(`${proc}/${name}/stat`, "latin1"))];
      } catch {
        return []; // ended meanwhile; its parent has its time
      }
    });
  return { busy, foreign: foreignTicks(processes, self) };
}

/** user, nice, system, irq and softirq of the line of all CPUs; what the hypervisor took (steal) is nobody's here. */
export function busyTicks(stat: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? "")
    .split(" ")
    .map(Number);
  return user + nice + system + irq + softirq;
}

/** The name, in brackets, may hold anything. */
export function parseProcessStat(line: string): ProcessTimes {
  const close = line.lastIndexOf(")");
  const fields = line.slice(close + 2).split(" ");
  const [, parent, , , , , flags] = fields.map(Number);
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15).map(Number);
  return {
    pid: Number.parseInt(line, 10),
    parent: parent ?? 0,
    kernelThread: ((flags ?? 0) & PF_KTHREAD) !== 0,
    own: user + system,
    children: childUser + childSystem,
  };
}

/** A process that ends hands its time to its parent, so that the sum only grows. */
export function foreignTicks(processes: readonly ProcessTimes[], self: number): number {
  const parentOf = new Map(processes.map(({ pid, parent }) => [pid, parent]));
  const takesPart = (pid: number): boolean => {
    for (let at = parentOf.get(pid); at !== undefined && at > 1; at = parentOf.get(at)) if (at === self) return true;
    return false;
  };
  return processes.reduce((sum, { pid, kernelThread, own, children }) => {
    if (pid === self) return sum + own;
    return kernelThread || takesPart(pid) ? sum : sum + own + children;
  }, 0);
}
