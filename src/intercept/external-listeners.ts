// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { loadAddon } from "../native/load-addon.ts";
import { isStatusError, SystemError } from "../native/status.ts";
import { ShuntError } from "../util/shunt-error.ts";
import type { ListeningSocket } from "./listening-sockets.ts";
import type { NetworkNamespace } from "./network-namespace.ts";

/** A listening socket of another process: a descriptor of our own, the caller's to close. */
export interface TakenListener {
  readonly socket: ListeningSocket;
  readonly fd: number;
  /** Whose it is. */
  readonly pid: number;
  /** Families whose connections it accepts: a socket on :: takes IPv4 too, unless it says otherwise. */
  readonly families: readonly (4 | 6)[];
}

export interface Taken {
  readonly listeners: readonly TakenListener[];
  /** Why one of the sockets could not be had; undefined when all are there. */
  readonly failure?: ShuntError;
}

const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;

/**
 * Copies of listening sockets, taken from the processes that have them open (pidfd_getfd, ≥ 5.6). sk_lookup hands
 * connections to sockets, and a socket in a map is known by a descriptor.
 */
export function takeListeners(netns: NetworkNamespace, sockets: readonly ListeningSocket[]): Taken {
  const missing = new Map(sockets.map((socket) => [socket.inode, socket]));
  const listeners: TakenListener[] = [];
  let failure: ShuntError | undefined;
  for (const pid of likelyHolders(netns)) {
    if (missing.size === 0) break;
    for (const { fd, inode } of openSockets(pid)) {
      const socket = missing.get(inode);
      if (!socket) continue;
      const copy = copySocket(pid, fd, inode);
      if (copy instanceof Error) {
        failure = copy;
        continue;
      }
      missing.delete(inode);
      if (copy !== undefined) listeners.push({ socket, fd: copy, pid, families: familiesOf(socket, copy) });
    }
  }
  const [lost] = missing.values();
  if (!lost) return { listeners };
  const unseen = new ShuntError(
    "ERR_LISTENER_HOLDER",
    `no process seen from here holds the socket that listens on ${lost.address} port ${lost.port}`,
  );
  return { listeners, failure: failure ?? unseen };
}

/** Processes inside the namespace first; a socket can be held outside it too, where it was made for somebody. */
function* likelyHolders(netns: NetworkNamespace): Generator<number> {
  const elsewhere: number[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    if (netnsInode(pid) === netns.inode) yield pid;
    else elsewhere.push(pid);
  }
  yield* elsewhere;
}

function netnsInode(pid: number): bigint | undefined {
  try {
    return statSync(`/proc/${pid}/ns/net`, { bigint: true }).ino;
  } catch {
    return undefined;
  }
}

function* openSockets(pid: number): Generator<{ readonly fd: number; readonly inode: number }> {
  const directory = `/proc/${pid}/fd`;
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  for (const name of names) {
    let inode: string | undefined;
    try {
      inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${directory}/${name}`))?.[1];
    } catch {
      // Closed meanwhile.
    }
    if (inode !== undefined) yield { fd: Number(name), inode: Number(inode) };
  }
}

/** Undefined when process or descriptor are something else by now. */
function copySocket(pid: number, fd: number, inode: number): number | SystemError | undefined {
  const copy = loadAddon().duplicateFrom(pid, fd);
  if (isStatusError(copy)) {
    const error = new SystemError(copy, "pidfd_getfd", `socket of process ${pid}`);
    return error.errnoName === "ESRCH" || error.errnoName === "EBADF" ? undefined : error;
  }
  if (fstatSync(copy).ino === inode) return copy;
  closeSync(copy);
  return undefined;
}

function familiesOf(socket: ListeningSocket, fd: number): readonly (4 | 6)[] {
  if (socket.family === 4) return [4];
  return socket.address === "::" && loadAddon().getSocketOption(fd, SOL_IPV6, IPV6_V6ONLY) === 0 ? [4, 6] : [6];
}
