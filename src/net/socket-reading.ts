// SPDX-License-Identifier: Apache-2.0
import type { Socket } from "node:net";
import { loadAddon } from "../native/load-addon.ts";
import { socketFd } from "./socket-fd.ts";

interface ReadingHandle {
  reading: boolean;
  readStop(): number;
  readStart(): number;
}

/**
 * `pause()` lets Node go on reading until its own buffer is full; these do not. A socket that is not read is not
 * watched either: neither its end nor its errors are noticed. To be called when no data of the socket is being
 * delivered, from a timer for instance, as Node asks for more at the end of such a turn. False: it is closed.
 */
export function stopReading(socket: Socket): boolean {
  const handle = handleOf(socket);
  if (!handle) return false;
  // `reading` stays true, so that nothing in Node's streams starts it again.
  return handle.readStop() === 0;
}

/**
 * What comes to a socket that is not read wakes its thread all the same; not from now on. False: it is being written,
 * which the thread is told of by the same means.
 */
export function stopWatching(socket: Socket): boolean {
  if (socket.writableLength > 0) return false;
  loadAddon().leaveLoop(socketFd(socket));
  return true;
}

/** Undoes `stopReading`. */
export function startReading(socket: Socket): void {
  const handle = handleOf(socket);
  if (!handle) return;
  const status = handle.readStart();
  if (status !== 0) socket.destroy(new Error(`reading cannot start again: ${status}`));
}

/** As socketFd: Node has no public way there, and 20 to 26 are alike. */
function handleOf(socket: Socket): ReadingHandle | null {
  return (socket as unknown as { readonly _handle: ReadingHandle | null })._handle;
}
