// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from "node:fs";
import { linkOf } from "./proc-link.ts";

/**
 * What a process asks of the kernel about a socket: `level`: to be told in every epoll_wait() that it can be read;
 * `none`: nothing, though it uses epoll; `unknown`: told once (edge-triggered, one shot), or it uses something else.
 */
export type PollInterest = "level" | "none" | "unknown";

/** include/uapi/linux/eventpoll.h */
const EPOLLIN = 0x1;
const EPOLLONESHOT = 0x4000_0000;
const EPOLLET = 0x8000_0000;

/** By the inode of the socket, from /proc/PID/fdinfo of the process' epoll descriptors (proc(5), `ino:` since 4.13). */
export function pollInterest(pid: number, inode: bigint): PollInterest {
  const wanted = inode.toString(16);
  let usesEpoll = false;
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    if (linkOf(`/proc/${pid}/fd/${fd}`) !== "anon_inode:[eventpoll]") continue;
    usesEpoll = true;
    const interest = interestIn(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1"), wanted);
    if (interest !== undefined) return interest;
  }
  return usesEpoll ? "none" : "unknown";
}

/** From the text of one epoll descriptor; undefined where it does not have the socket. */
export function interestIn(fdinfo: string, inode: string): PollInterest | undefined {
  for (const [, events = "", ino] of fdinfo.matchAll(/^tfd: *\d+ events: *([0-9a-f]+) .*\bino:([0-9a-f]+)/gm)) {
    if (ino !== inode) continue;
    const mask = Number.parseInt(events, 16);
    if ((mask & EPOLLET) !== 0 || (mask & EPOLLONESHOT) !== 0) return "unknown";
    return (mask & EPOLLIN) === 0 ? "none" : "level";
  }
  return undefined;
}
