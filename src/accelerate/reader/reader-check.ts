// SPDX-License-Identifier: Apache-2.0
import type { AccelReason } from "../../bpf/generated/types.ts";
import type { FileIdentity } from "./file-identity.ts";
import { type Program, programOf } from "./program-check.ts";
import { holdersOf } from "./socket-holders.ts";

/** An application's socket, as the program `advance` describes it. */
export interface ReadSocket {
  readonly inode: bigint;
  /** The same number for sockets that one process has taken between two calls of exec(); not for ever. */
  readonly credentials: bigint;
  /** Process that listened or connected; 0 where that was not seen. */
  readonly opener: number;
  /** Of the listener that has taken it; 0 for a connection that the process has made. */
  readonly servicePort: number;
}

export type ReaderVerdict =
  | { readonly allowed: true; readonly pid: number }
  | { readonly allowed: false; readonly reason: AccelReason };

/** Keys of one namespace. */
const MOST_REMEMBERED = 4096;

const REASONS = { "may-splice": "may-splice", unknown: "program-unknown" } as const;

/**
 * Whether the programs that read from a socket can bear redirected bytes. Which processes they are is searched once
 * per process that takes connections; that they still run the same program is asked for each.
 */
export class ReaderCheck {
  readonly #netns: bigint;
  readonly #isWithdrawn: (executable: FileIdentity) => boolean;
  readonly #holders = new Map<string, readonly number[]>();

  /** `netns`: inode number of the network namespace whose processes are searched. */
  constructor(netns: bigint, isWithdrawn: (executable: FileIdentity) => boolean) {
    this.#netns = netns;
    this.#isWithdrawn = isWithdrawn;
  }

  judge(socket: ReadSocket): ReaderVerdict {
    const { inode, credentials, opener, servicePort } = socket;
    // A process that hands connections to others (inetd) does so by port.
    const key = `${credentials}:${opener}:${servicePort}`;
    const known = this.#holders.get(key);
    const programs = known && allOf(known);
    if (known && programs) return this.#verdict(known, programs);
    const pids = holdersOf(inode, this.#netns, opener);
    const found = allOf(pids);
    if (!found || pids.length === 0) return { allowed: false, reason: "reader-unknown" };
    if (this.#holders.size >= MOST_REMEMBERED) this.#holders.clear();
    this.#holders.set(key, pids);
    return this.#verdict(pids, found);
  }

  #verdict([pid = 0]: readonly number[], programs: readonly Program[]): ReaderVerdict {
    for (const { ability, executable } of programs) {
      if (ability !== "none") return { allowed: false, reason: REASONS[ability] };
      if (this.#isWithdrawn(executable)) return { allowed: false, reason: "withdrawn" };
    }
    return { allowed: true, pid };
  }
}

/** Undefined where one of them is gone. */
function allOf(pids: readonly number[]): readonly Program[] | undefined {
  const programs = pids.map(programOf);
  return programs.every((program) => program !== undefined) ? programs : undefined;
}
