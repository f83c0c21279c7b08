// SPDX-License-Identifier: Apache-2.0
/** Ends a process between two of its system calls, by strace. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { patienceMs } from "./inbox.ts";

/** Those by which an agent changes the machine: maps and programs, its namespace, folders and pins, netlink, programs. */
export const CHANGING_CALLS = ["bpf", "setns", "sendto", "mkdir", "rename", "unlink", "rmdir", "clone"] as const;
export type ChangingCall = (typeof CHANGING_CALLS)[number];

/** A command that SIGKILL ends in front of the nth such call of one of its threads. */
export function killedBefore(call: ChangingCall, nth: number, argv: readonly string[]): string[] {
  return ["strace", "-f", "-o", "/dev/null", ...injection(call, nth), ...argv];
}

function injection(call: ChangingCall, nth: number): string[] {
  return ["-e", `trace=${call}`, "-e", `inject=${call}:signal=SIGKILL:when=${nth}`];
}

/** While it lives, SIGKILL comes to one process in front of the nth such call that one of its threads makes. */
export class SystemCallKiller implements AsyncDisposable {
  readonly #strace: ChildProcess;
  readonly #end: Promise<unknown>;

  private constructor(strace: ChildProcess) {
    this.#strace = strace;
    this.#end = once(strace, "close");
  }

  /** Resolves when it watches every thread. */
  static async watch(pid: number, call: ChangingCall, nth: number): Promise<SystemCallKiller> {
    const words = ["-f", "-p", String(pid), "-o", "/dev/null", ...injection(call, nth)];
    const strace = spawn("strace", words, { stdio: ["ignore", "ignore", "pipe"] });
    const killer = new SystemCallKiller(strace);
    let told = "";
    const attached = new Promise<void>((resolve) => {
      strace.stderr.setEncoding("utf8").on("data", (text: string) => {
        told += text;
        // "strace: Process 4711 attached with 15 threads"
        if (/attached/.test(told)) resolve();
      });
    });
    const signal = AbortSignal.timeout(patienceMs(20_000));
    const ended = once(strace, "close", { signal }).then(() => {
      throw new Error(`strace ended: ${told}`);
    });
    await Promise.race([attached, ended]);
    ended.catch(() => {});
    return killer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Lets go of the process, if it is still there.
    this.#strace.kill("SIGINT");
    await this.#end;
  }
}
