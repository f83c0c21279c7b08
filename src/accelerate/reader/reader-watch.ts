// SPDX-License-Identifier: Apache-2.0
import { readlinkSync } from "node:fs";
import type { BpfObject } from "../../bpf/bpf-object.ts";
import type { StaleReader } from "../../bpf/generated/types.ts";
import type { MapPool } from "../../bpf/map-pool.ts";
import { check } from "../../native/status.ts";
import { accelerateLayouts, openWatchObject } from "../accelerate-object.ts";
import { pollInterest } from "./poll-interest.ts";
import { systemTimeOf } from "./process-times.ts";
import { programOf } from "./program-check.ts";
import { isWithdrawn, withdraw } from "./withdrawn.ts";

export interface WithdrawnProgram {
  readonly pid: number;
  /** Path of its executable. */
  readonly program: string;
  /** Looks in which it has read nothing of what was there. */
  readonly looks: number;
}

/** Looks in a row before a reader is suspected. */
const SUSPECT_LOOKS = 3;
/** Further looks for one that asks, again and again, to be told what it then does not read. */
const LEVEL_LOOKS = 3;
/** And for one that has been told once, and may have its reasons: its own reader may be slow. */
const OTHER_LOOKS = 27;
/** In system calls, meanwhile: it has not slept, nor only computed. */
const RUN_MS = 30;

/** Whoever has a flow leaves it long before: its sockets are closed, or have not been seen. */
const DEAD_LOOKS = 60;

/** A reader under suspicion, as it was then. */
interface Suspect {
  readonly looks: number;
  readonly systemMs: number;
}

const ETHERNET: readonly number[] = Array.from({ length: 16 }, () => 0);

/**
 * Notices programs that are told of redirected bytes, run, and do not read them. Takes away the flows of workers that
 * have crashed.
 */
export class ReaderWatch implements Disposable {
  readonly #object: BpfObject;
  /** By inode of the socket. */
  #suspects = new Map<bigint, Suspect>();
  #round = 0;

  /** `maps`: of the loaded programs of acceleration. */
  constructor(maps: MapPool) {
    this.#object = openWatchObject();
    try {
      this.#object.load({ pool: maps });
    } catch (error) {
      this.#object.close();
      throw error;
    }
  }

  /** Compares with the last look; called once in a second. Programs that are withdrawn by it. */
  look(): WithdrawnProgram[] {
    const suspects = new Map<bigint, Suspect>();
    const found: WithdrawnProgram[] = [];
    for (const [inode, reader] of this.#stale()) {
      try {
        const suspect = this.#suspects.get(inode) ?? { looks: reader.looks, systemMs: systemTimeOf(reader.pid) };
        suspects.set(inode, suspect);
        const withdrawn = this.#judge(inode, reader, suspect);
        if (withdrawn) found.push(withdrawn);
      } catch {
        // The process has ended meanwhile.
      }
    }
    this.#suspects = suspects;
    return found;
  }

  /** Whether a process runs a program that was withdrawn. */
  isWithdrawn(pid: number): boolean {
    const program = pid === 0 ? undefined : programOf(pid);
    return program !== undefined && isWithdrawn(this.#object.map("accel_withdrawn"), program.executable);
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }

  #judge(inode: bigint, { pid, looks }: StaleReader, suspect: Suspect): WithdrawnProgram | undefined {
    const watched = looks - suspect.looks;
    if (watched < LEVEL_LOOKS || systemTimeOf(pid) - suspect.systemMs < RUN_MS) return undefined;
    const interest = pollInterest(pid, inode);
    if (interest === "none" || (interest === "unknown" && watched < OTHER_LOOKS)) return undefined;
    const program = programOf(pid);
    if (!program || !withdraw(this.#object.map("accel_withdrawn"), program.executable)) return undefined;
    return { pid, program: readlinkSync(`/proc/${pid}/exe`), looks };
  }

  /** Readers that have read nothing for some looks, by inode. */
  #stale(): [bigint, StaleReader][] {
    const { look } = accelerateLayouts();
    const data = new Uint8Array(look.size);
    const round = (this.#round = (this.#round + 1) % 2 ** 32);
    look.encode(new DataView(data.buffer), 0, { ethernet: ETHERNET, round, looks: SUSPECT_LOOKS, dead: DEAD_LOOKS });
    check(this.#object.program("look").testRun({ data }), "BPF_PROG_TEST_RUN", "look");
    const map = this.#object.map("accel_stale");
    const told = [...map.entries()];
    for (const [inode, reader] of told) if (reader.round !== round) map.delete(inode);
    return told.filter(([, reader]) => reader.round === round);
  }
}
