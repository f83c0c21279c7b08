// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { readRest } from "../net/read-rest.ts";

const FIRST_LOOK_MS = 1;
const LONGEST_LOOK_MS = 16;
/** Bytes wait for a worker of the kernel that always runs; where none comes for so long, none will. */
const PATIENCE_MS = 10_000;

export interface LateReader {
  readonly deliver: (chunk: Buffer) => void;
  readonly end: () => void;
  readonly fail: () => void;
}

/**
 * Reads what is missing of a spliced socket whose end has been read. The kernel tells of the end (RCV_SHUTDOWN,
 * tcp_bpf_recvmsg_parser in net/ipv4/tcp_bpf.c) while bytes that came before it wait in the same queue behind such as
 * the socket has to send (`ingress_skb`, sk_psock_backlog in net/core/skmsg.c, 6.18), and read() answers 0 meanwhile.
 * `missing`: so many.
 */
export function readLate(socket: Socket, missing: number, { deliver, end, fail }: LateReader): void {
  let left = missing;
  let deadline = performance.now() + PATIENCE_MS;
  const look = (nextLookMs: number): void => {
    if (socket.destroyed) return fail();
    const rest = readRest(socket);
    if (rest) {
      left -= rest.length;
      deadline = performance.now() + PATIENCE_MS;
      deliver(rest);
    }
    if (left <= 0) return end();
    if (performance.now() > deadline) return fail();
    setTimeout(look, nextLookMs, Math.min(2 * nextLookMs, LONGEST_LOOK_MS));
  };
  look(FIRST_LOOK_MS);
}
