// SPDX-License-Identifier: Apache-2.0
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import type { ScratchCgroup } from "./scratch-cgroup.ts";

const RELAYED = ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM"] as const;
type Relayed = (typeof RELAYED)[number];

/**
 * Passes signals on, so that none ends Shunt before it has cleaned up: to the command while it runs, then to the
 * descendants that outlive it. What comes before there is a command is told by `early`.
 */
export class SignalRelay implements Disposable {
  #early: Relayed | undefined;
  #send: ((signal: Relayed) => void) | undefined;
  readonly #handlers = RELAYED.map((signal) => [signal, (): void => this.#received(signal)] as const);

  constructor() {
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  /** 128 + the number of the signal that came before anything could take it. */
  get early(): number | undefined {
    return this.#early && 128 + constants.signals[this.#early];
  }

  /**
   * What the terminal sends (Ctrl-C, Ctrl-\) reaches the command by itself, because it is in our process group; sending
   * it again would make it see two.
   */
  toCommand(child: ChildProcess): void {
    this.#send = (signal) => {
      if (!(isFromTerminal(signal) && inTerminalForeground())) child.kill(signal);
    };
  }

  /** To every process of the cgroup. */
  toDescendants(cgroup: ScratchCgroup): void {
    this.#send = (signal) => {
      const group = isFromTerminal(signal) && inTerminalForeground() ? statField("self", PGRP) : undefined;
      for (const pid of cgroup.processes())
        if (group === undefined || statField(pid, PGRP) !== group) kill(pid, signal);
    };
  }

  [Symbol.dispose](): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }

  #received(signal: Relayed): void {
    if (this.#send) this.#send(signal);
    else this.#early ??= signal;
  }
}

function isFromTerminal(signal: Relayed): boolean {
  return signal === "SIGINT" || signal === "SIGQUIT";
}

function kill(pid: number, signal: Relayed): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Fields of proc_pid_stat(5), counted from the state, which follows the name. */
const PGRP = 2;
const TPGID = 5;

/** Our process group is the one the terminal talks to. */
function inTerminalForeground(): boolean {
  const foreground = statField("self", TPGID);
  return foreground !== "-1" && foreground === statField("self", PGRP);
}

function statField(pid: number | "self", index: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[index];
  } catch {
    // It has ended meanwhile.
    return undefined;
  }
}
